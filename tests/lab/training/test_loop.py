"""The training loop: learns, resumes to the bit, stops cleanly, keeps NaN out of the weights."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mesoface.files.checkpoints import WeightsError
from mesoface.lab.training.config import TrainingError, check_config
from mesoface.lab.training.resume import locked
from mesoface.lab.training.run import train
from mesoface.lab.training.tile import read_tiles


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights_equal(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.usefixtures("toy_training")
def test_training_learns_and_leaves_everything_behind(values, tmp_path):
    outcome = train(check_config(values(steps=90, every=15), "matching"), "matching")
    assert outcome.finished
    assert outcome.step == 90
    out = tmp_path / "run"
    measured = rows(out / "validation.csv")
    assert [int(row["step"]) for row in measured] == [0, *range(15, 91, 15)]
    assert float(measured[-1]["mean_mm"]) < 0.25 * float(measured[0]["mean_mm"])
    logged = rows(out / "log.csv")
    assert [int(row["step"]) for row in logged] == list(range(2, 91, 2))
    assert {"loss", "square", "gradient", "rate", "seconds"} < logged[0].keys()
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "step-00000088.safetensors",
        "step-00000090.safetensors",
    ]
    card = json.loads((out / "card.json").read_text())
    assert card["steps"] == 90
    assert card["figures"]["mean_mm"] == pytest.approx(float(measured[-1]["mean_mm"]), abs=1e-4)
    assert (out / "validation.png").stat().st_size > 1000
    assert outcome.weights == out / "weights.safetensors"
    assert load_file(outcome.weights).keys() >= {"0.weight", "2.bias", "1.running_mean"}


@contextmanager
def running(toy, file: Path, *, pause: float) -> Iterator[subprocess.Popen]:
    """The toy's training in a process of its own."""
    command = [sys.executable, toy.__file__, str(file), str(pause)]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(reached: Callable[[], bool], process: subprocess.Popen, longest: float = 120.0) -> None:
    end = time.monotonic() + longest
    while not reached() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


@pytest.mark.usefixtures("toy_training")
def test_killed_and_resumed_it_ends_with_the_same_weights(toy, values, tmp_path):
    """kill -9 in a real process; then on from the last checkpoint, with a loader process this time."""
    whole, broken, file = tmp_path / "whole", tmp_path / "broken", tmp_path / "broken.json"
    file.write_text(json.dumps(values(steps=48, every=12, out=str(broken))))
    with running(toy, file, pause=0.02) as killed:
        train(check_config(values(steps=48, every=12, out=str(whole)), "matching"), "matching")
        wait_for((broken / "checkpoints" / "step-00000012.safetensors").exists, killed)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL, "it ended before it was killed"
    resumed = check_config(values(steps=48, every=12, out=str(broken), machine={"workers": 1}), "matching")
    assert train(resumed, "matching").finished
    assert weights_equal(whole / "weights.safetensors", broken / "weights.safetensors")
    last = "checkpoints/step-00000048.safetensors"
    assert weights_equal(whole / last, broken / last), "the optimiser's moments"
    for name in ("log.csv", "validation.csv"):
        assert [row["step"] for row in rows(broken / name)] == [row["step"] for row in rows(whole / name)]


def test_asked_to_stop_a_process_keeps_its_last_step(toy, values, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values(steps=5000, checkpoint_every=5000)))
    with running(toy, file, pause=0.005) as process:
        log = tmp_path / "run" / "log.csv"
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert 4 <= int(kept.stem.removeprefix("step-")) < 5000


def test_ctrl_c_ends_it_after_the_step(toy, values, tmp_path, monkeypatch):
    class Interrupted(toy.ToyRecipe):
        count = 0

        def loss(self, tile, rng):
            Interrupted.count += 1
            if Interrupted.count == 5:  # in the third step
                os.kill(os.getpid(), signal.SIGINT)
            return super().loss(tile, rng)

    monkeypatch.setattr("mesoface.lab.training.run.make_recipe", lambda config, stage: Interrupted())
    outcome = train(check_config(values(), "matching"), "matching")
    assert (outcome.step, outcome.finished) == (3, False)
    assert [p.stem for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_last_step_leaves_its_validation_for_later(toy, values, tmp_path, monkeypatch):
    class Interrupted(toy.ToyRecipe):
        count = 0

        def loss(self, tile, rng):
            Interrupted.count += 1
            if Interrupted.count == 12:
                os.kill(os.getpid(), signal.SIGINT)
            return super().loss(tile, rng)

    monkeypatch.setattr("mesoface.lab.training.run.make_recipe", lambda config, stage: Interrupted())
    outcome = train(check_config(values(), "matching"), "matching")
    assert (outcome.step, outcome.finished) == (6, False)
    assert train(check_config(values(), "matching"), "matching").finished
    assert [row["step"] for row in rows(tmp_path / "run" / "validation.csv")] == ["0", "3", "6"]


@pytest.mark.usefixtures("toy_training")
def test_stopped_at_any_step_it_ends_with_the_same_weights(values, tmp_path, monkeypatch):
    """Also between two checkpoints, and where steps are added later with a level rate."""
    level = {"optimizer": {"rate": 0.01, "warmup": 0, "schedule": "constant"}}
    train(check_config(values(steps=10, out=str(tmp_path / "whole"), **level), "matching"), "matching")
    for steps in (3, 4, 10):
        train(check_config(values(steps=steps, **level), "matching"), "matching")
    assert weights_equal(tmp_path / "whole" / "weights.safetensors", tmp_path / "run" / "weights.safetensors")


@pytest.mark.usefixtures("toy_training")
def test_a_finished_run_says_so_again(values):
    config = check_config(values(), "matching")
    first = train(config, "matching")
    again = train(config, "matching")
    assert (again.finished, again.step, again.weights) == (True, 6, first.weights)


@pytest.mark.usefixtures("toy_training")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed: 3, now 4"),
        ({"batch": 4}, "batch: 2, now 4"),
        ({"optimizer": {"rate": 0.02, "warmup": 2}}, "optimizer.rate: 0.01, now 0.02"),
        ({"steps": 5}, "at step 6 already, past 5"),
    ],
)
def test_another_configuration_is_refused_by_name(values, change, said):
    train(check_config(values(), "matching"), "matching")
    with pytest.raises(TrainingError, match=said) as caught:
        train(check_config(values(**change), "matching"), "matching")
    assert "--fresh" in str(caught.value)
    train(check_config(values(**change), "matching"), "matching", fresh=True)


@pytest.mark.usefixtures("toy_training")
def test_another_stage_is_refused(values):
    train(check_config(values(), "matching"), "matching")
    with pytest.raises(TrainingError, match="a training of the matching, not of the regularizer"):
        train(check_config(values(), "regularizer"), "regularizer")


@pytest.mark.usefixtures("toy_training")
def test_fresh_removes_what_training_wrote_and_nothing_else(values, tmp_path):
    train(check_config(values(), "matching"), "matching")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(check_config(values(steps=2), "matching"), "matching", fresh=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert [row["step"] for row in rows(tmp_path / "run" / "log.csv")] == ["2"]


@pytest.mark.usefixtures("toy_training")
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_good(values, tmp_path):
    train(check_config(values(), "matching"), "matching")
    _, last = sorted((tmp_path / "run" / "checkpoints").iterdir())
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="delete it to go on from the one before") as caught:
        train(check_config(values(), "matching"), "matching")
    assert caught.value.path == last
    last.unlink()
    assert train(check_config(values(), "matching"), "matching").finished


def test_nan_stops_with_the_batch_and_the_last_good_checkpoint(toy, values, tmp_path, monkeypatch):
    class Poisoned(toy.ToyRecipe):
        count = 0

        def loss(self, tile, rng):
            loss, parts = super().loss(tile, rng)
            Poisoned.count += 1
            return (loss * torch.nan, {"square": float("nan")}) if Poisoned.count == 10 else (loss, parts)

    monkeypatch.setattr("mesoface.lab.training.run.make_recipe", lambda config, stage: Poisoned())
    with pytest.raises(TrainingError, match="step 4: loss of sample 9 is nan; square of sample 9") as caught:
        train(check_config(values(), "matching"), "matching")
    assert caught.value.path == tmp_path / "run" / "bad_batch.npz"
    assert len(read_tiles(tmp_path / "run" / "bad_batch.npz")) == 2
    (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert kept.stem == "step-00000004"
    assert all(torch.isfinite(value).all() for value in load_file(kept).values())
    assert train(check_config(values(), "matching"), "matching").finished, "and goes on from there"


@pytest.mark.usefixtures("toy_training")
def test_infinite_gradients_stop_it(values, toy, monkeypatch):
    def loss(self, tile, rng):
        answer = self._answer(tile)
        return torch.sqrt((answer - answer.detach()).abs().sum()), {}

    monkeypatch.setattr(toy.ToyRecipe, "loss", loss)
    with pytest.raises(TrainingError, match="the gradient's norm is nan"):
        train(check_config(values(), "matching"), "matching")


@pytest.mark.usefixtures("toy_training")
def test_two_trainings_do_not_share_a_folder(values, tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(TrainingError, match="another process is training in it"),
    ):
        train(check_config(values(), "matching"), "matching")
    assert train(check_config(values(), "matching"), "matching").finished


@pytest.mark.usefixtures("toy_training")
def test_seed_decides(values, tmp_path):
    for name, seed in (("a", 3), ("b", 4)):
        train(check_config(values(out=str(tmp_path / name), seed=seed), "matching"), "matching")
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in "ab")
    assert not np.allclose(a["0.weight"], b["0.weight"])


@pytest.mark.slow
def test_two_processes_train_as_one(toy, values, tmp_path):
    """The same samples, gradients averaged: the same weights up to rounding."""
    for name, devices in (("one", 1), ("two", 2)):
        file = tmp_path / f"{name}.json"
        machine = {"device": "cpu", "devices": devices}
        file.write_text(json.dumps(values(out=str(tmp_path / name), steps=6, batch=4, machine=machine)))
        with running(toy, file, pause=0) as process:
            assert process.wait(300) == 0
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name in ("0.weight", "1.weight", "1.bias", "2.weight", "2.bias"):
        assert torch.allclose(one[name], two[name], atol=1e-5), name
    losses = [[float(row["loss"]) for row in rows(tmp_path / name / "log.csv")] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
