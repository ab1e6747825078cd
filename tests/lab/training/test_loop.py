"""The training loop, for both kinds of networks: learns, resumes to the bit, stops cleanly, refuses NaN."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from mesoface.files.weights import WeightsError, load_network
from mesoface.lab.training.checkpoint import locked
from mesoface.lab.training.config import (
    MatchingConfig,
    OptimizerSettings,
    RegularizerConfig,
    TrainingError,
    check_config,
)
from mesoface.lab.training.run import learning_rate, train
from mesoface.lab.training.tile import read_tiles
from mesoface.lab.training.validation import WeightAverage
from mesoface.relief.network import RELIEF_GENERATOR
from mesoface.weights import describe


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def steps(path: Path) -> list[int]:
    return [int(row["step"]) for row in rows(path)]


def weights_equal(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def level(rate: float) -> dict[str, dict[str, object]]:
    return {"optimizer": {"rate": rate, "warmup": 0, "schedule": "constant"}}


def test_training_learns_and_leaves_everything_behind(trained):
    tiles, out = trained.error == "mean_mm", trained.out
    last, every = (90, 15) if tiles else (30, 15)
    outcome = trained.train(
        steps=last, every=every, optimizer={"rate": 0.01 if tiles else 5e-3, "warmup": 2 if tiles else 5}
    )
    assert (outcome.finished, outcome.step, outcome.weights) == (True, last, out / "weights.safetensors")
    measured = rows(out / "validation.csv")
    assert steps(out / "validation.csv") == list(range(0, last + 1, every))
    first_error, last_error = (float(measured[n][trained.error]) for n in (0, -1))
    assert last_error < (0.25 * first_error if tiles else 0.8)
    assert steps(out / "log.csv") == list(range(2, last + 1, 2))
    assert {"loss", "gradient", "rate", "seconds"} | trained.parts < rows(out / "log.csv")[0].keys()
    kept = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert kept == [f"step-{step:08d}.safetensors" for step in (last - 2, last)]
    card = json.loads((out / "card.json").read_text())
    assert card["steps"] == last
    assert card["figures"][trained.error] == pytest.approx(last_error, abs=1e-4)
    assert (out / "validation.png").stat().st_size > 1000
    state = load_file(outcome.weights)
    if tiles:
        assert state.keys() >= {"0.weight", "2.bias", "1.running_mean"}
        return
    assert first_error > 0.9
    assert float(measured[-1]["correlation"]) > 0.5
    assert Image.open(out / "validation.png").size == (6 * 192, 20 + 5 * 192)
    about = describe(outcome.weights)
    assert about.network.name == "relief_generator"
    assert about.card is not None
    assert (about.card.stage, about.card.data) == ("meso", ("7 easy squares of seed 0",))
    load_network(outcome.weights, RELIEF_GENERATOR)


@pytest.mark.usefixtures("toy_training")
def test_killed_and_resumed_it_ends_with_the_same_weights(toy, start, values, tmp_path):
    """kill -9 in a real process; then on from the last checkpoint, with a loader process this time."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    killed = start(values(steps=48, every=12, out=str(broken)), pause=0.02)
    train(check_config(values(steps=48, every=12, out=str(whole)), MatchingConfig))
    toy.wait_for((broken / "checkpoints" / "step-00000012.safetensors").exists)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it ended before it was killed"
    resumed = check_config(
        values(steps=48, every=12, out=str(broken), machine={"workers": 1}), MatchingConfig
    )
    assert train(resumed).finished
    assert weights_equal(whole / "weights.safetensors", broken / "weights.safetensors")
    last = "checkpoints/step-00000048.safetensors"
    assert weights_equal(whole / last, broken / last), "the optimiser's moments"
    for name in ("log.csv", "validation.csv"):
        assert [row["step"] for row in rows(broken / name)] == [row["step"] for row in rows(whole / name)]


def test_asked_to_stop_a_process_keeps_its_last_step(toy, start, values, tmp_path):
    process = start(values(steps=5000, checkpoint_every=5000), pause=0.005)
    log = tmp_path / "run" / "log.csv"
    toy.wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert 4 <= int(kept.stem.removeprefix("step-")) < 5000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step(trained, on_loss, number):
    before = signal.getsignal(number)

    def interrupt(n, loss):
        if n == 2 * trained.calls + 1:  # in the third step
            os.kill(os.getpid(), number)
        return loss

    on_loss(interrupt)
    outcome = trained.train()
    assert (outcome.step, outcome.finished) == (3, False)
    assert [p.stem for p in (trained.out / "checkpoints").iterdir()] == ["step-00000003"]
    assert signal.getsignal(number) is before


def test_ctrl_c_in_the_last_step_leaves_its_validation_for_later(trained, on_loss):
    def interrupt(n, loss):
        if n == 6 * trained.calls:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    on_loss(interrupt)
    outcome = trained.train()
    assert (outcome.step, outcome.finished) == (6, False)
    assert trained.train().finished
    assert steps(trained.out / "validation.csv") == [0, 3, 6]


def test_stopped_at_any_step_it_ends_with_the_same_weights(trained, tmp_path):
    """Also between two checkpoints, and where steps are added later with a level rate."""
    whole = tmp_path / "whole"
    trained.train(steps=10, out=str(whole), **level(0.01), average=0.9)
    for last in (3, 4, 10):
        trained.train(steps=last, **level(0.01), average=0.9)
    for name in ("weights", "checkpoints/step-00000010"):  # moments and average
        assert weights_equal(whole / f"{name}.safetensors", trained.out / f"{name}.safetensors")
    assert steps(trained.out / "log.csv") == [2, 3, 4, 6, 8, 10]
    written = load_file(whole / "weights.safetensors")[trained.weight]
    kept = load_file(whole / "checkpoints" / "step-00000010.safetensors")
    assert torch.equal(written, kept[f"average/{trained.weight}"]), "the average is what is written"
    assert not torch.equal(written, kept[f"network/{trained.weight}"])


def test_a_finished_run_says_so_again(trained):
    first = trained.train()
    again = trained.train()
    assert (again.finished, again.step, again.weights) == (True, 6, first.weights)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed: 3, now 4"),
        ({"batch": 4}, r"batch: \d, now 4"),
        ({"optimizer": {"rate": 0.1, "warmup": 2}}, r"optimizer\.rate: 0\.0.*, now 0\.1"),
        ({"steps": 5}, "at step 6 already, past 5"),
    ],
)
def test_another_configuration_is_refused_by_name(trained, change, said):
    trained.train()
    with pytest.raises(TrainingError, match=said) as caught:
        trained.train(**change)
    assert "--fresh" in str(caught.value)
    assert trained.train(**change, fresh=True).finished


@pytest.mark.usefixtures("toy_training")
def test_another_stage_is_refused(values):
    train(check_config(values(), MatchingConfig))
    with pytest.raises(TrainingError, match="a training of the matching, not of the regularizer"):
        train(check_config(values(), RegularizerConfig))


def test_fresh_removes_what_training_wrote_and_nothing_else(trained):
    trained.train()
    (trained.out / "notes.txt").write_text("mine")
    trained.train(steps=2, fresh=True)
    assert (trained.out / "notes.txt").read_text() == "mine"
    assert steps(trained.out / "log.csv") == [2]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_good(trained):
    trained.train()
    _, last = sorted((trained.out / "checkpoints").iterdir())
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="delete it to resume from the one before") as caught:
        trained.train()
    assert caught.value.path == last
    last.unlink()
    assert trained.train().finished


def test_nan_stops_with_the_batch_and_the_last_good_checkpoint(trained, on_loss):
    tiles = trained.calls == 2
    poisoned = 4 * trained.calls + trained.calls  # the last loss of the fifth step

    def poison(n, loss):
        return (loss[0] * torch.nan, dict.fromkeys(loss[1], np.nan)) if n == poisoned else loss

    on_loss(poison)
    where, (part,) = "sample 9" if tiles else "samples 12 to 14", trained.parts
    with pytest.raises(TrainingError, match=f"step 4: loss of {where} is nan; {part} of {where}") as caught:
        trained.train()
    assert "lower optimizer.rate" in str(caught.value)
    assert caught.value.path == trained.out / "bad_batch.npz"
    if tiles:
        assert len(read_tiles(caught.value.path)) == 2
    else:
        with np.load(caught.value.path) as batch:
            assert batch["relief"].shape == (3, 32, 32)
    (kept,) = (trained.out / "checkpoints").iterdir()
    assert kept.stem == "step-00000004"
    for path in (kept, trained.out / "weights.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(path).values())
    assert trained.train().finished, "and goes on from there"


def test_infinite_gradients_stop_it(trained, on_loss):
    on_loss(lambda n, loss: (torch.sqrt((loss[0] - loss[0].detach()).abs()), {}))
    with pytest.raises(TrainingError, match="the gradient's norm is nan"):
        trained.train()


def test_two_trainings_do_not_share_a_folder(trained):
    with locked(trained.out), pytest.raises(TrainingError, match="another process is training in it"):
        trained.train()
    assert trained.train().finished


def test_seed_decides(trained, tmp_path):
    for name, seed in (("a", 3), ("b", 4)):
        trained.train(out=str(tmp_path / name), seed=seed)
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in "ab")
    assert not np.allclose(a[trained.weight], b[trained.weight])


def test_a_run_may_begin_to_average_later(trained):
    trained.train(steps=4, average=0.0)
    assert trained.train(steps=8, average=0.9).finished
    last = load_file(trained.out / "checkpoints" / "step-00000008.safetensors")
    assert any(name.startswith("average/") for name in last)


def test_mixed_precision_trains_too(trained):
    outcome = trained.train(machine={"precision": "bf16-mixed"})
    assert outcome.finished
    types = {str(value.dtype) for value in load_file(outcome.weights).values()}
    assert types - {"torch.int64"} == {"torch.float32"}  # integers: batches that a normalisation has counted


def test_it_is_the_exponential_average_after_its_beginning():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(100.0)
    average = WeightAverage(network, 0.9, {})
    values = [float(n) for n in range(1, 200)]
    for step, value in enumerate(values, start=1):
        network.weight.data.fill_(value)
        average.update(step)
    # of a ramp of slope one the average lags by decay / (1 - decay); the first weights are forgotten
    assert float(average.state["weight"]) == pytest.approx(values[-1] - 9, abs=1e-3)


def test_used_and_given_back_to_the_bit():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    network[0].bias.requires_grad_(False)
    average = WeightAverage(network, 0.5, {})
    assert average.state.keys() == {"0.weight", "1.weight", "1.bias"}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        network[0].weight.mul_(1 / 3)
    average.update(100)
    own = network[0].weight.detach().clone()
    with average.used():
        assert torch.equal(network[0].weight, average_of(before["0.weight"], own))
        assert network[0].weight.requires_grad
    assert torch.equal(network[0].weight, own)
    assert torch.equal(average.state["0.weight"], average_of(before["0.weight"], own))


def average_of(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first.lerp(second, 0.5)


def test_warm_up_then_down_to_the_share_asked_for():
    settings = OptimizerSettings(rate=1.0, warmup=10, final_rate=0.1)
    rates = [learning_rate(step, 110, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55, abs=0.01), "half way down"
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_constant_stays():
    settings = OptimizerSettings(rate=0.5, warmup=0, schedule="constant")
    assert {learning_rate(step, 7, settings) for step in range(7)} == {0.5}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_shorter_than_the_warm_up(steps):
    rates = [learning_rate(step, steps, OptimizerSettings(rate=1.0, warmup=4)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiles", "squares"])
def test_two_processes_train_as_one(start, values, square_values, tmp_path, kind):
    """The same samples, gradients averaged: the same weights up to rounding. The first makes the squares.

    The toy's first bias is normalised away after it, and its normalisation counts what one process sees.
    """
    for name, devices in (("one", 1), ("two", 2)):
        changed = {"out": str(tmp_path / name), "batch": 4, "machine": {"device": "cpu", "devices": devices}}
        if kind == "tiles":
            assert start(values(**changed)).wait(300) == 0
            continue
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(square_values(**changed, cache=str(tmp_path / f"cache {name}"))))
        command = [Path(sys.executable).parent / "mesoface", "train", "meso", "--config", file]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name in (name for name in one if name != "0.bias" and not name.startswith(("1.running", "1.num"))):
        assert torch.allclose(one[name], two[name], atol=1e-5), name
    losses = [[float(row["loss"]) for row in rows(tmp_path / name / "log.csv")] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
