"""Training of relief: learns, resumes to the bit, stops cleanly, keeps NaN out of the weights."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mesoface.lab.training.relief.config import check_meso_config
from mesoface.lab.training.relief.run import train_meso
from PIL import Image
from safetensors.torch import load_file

from mesoface.files.weights import load_network
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.relief import run
from mesoface.lab.training.relief.recipe import LightRecipe, make_recipe
from mesoface.relief.network import MESO_GENERATOR, RELIEF_GENERATOR
from mesoface.weights import describe

pytestmark = pytest.mark.usefixtures("easy_pools")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights_equal(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_thirty_steps_beat_saying_nothing(values, tmp_path):
    optimizer = {"rate": 5e-3, "warmup": 5}
    config = check_meso_config(
        values(steps=30, validation=values()["validation"] | {"every": 15}, optimizer=optimizer)
    )
    outcome = train_meso(config)
    assert outcome.finished
    out = tmp_path / "run"
    measured = rows(out / "validation.csv")
    assert [int(row["step"]) for row in measured] == [0, 15, 30]
    assert float(measured[0]["slope_left"]) > 0.9
    assert float(measured[-1]["slope_left"]) < 0.8
    assert float(measured[-1]["correlation"]) > 0.5
    assert {"loss", "slope_left", "gradient", "rate", "seconds"} < rows(out / "log.csv")[0].keys()
    assert Image.open(out / "validation.png").size == (6 * 192, 20 + 5 * 192)
    about = describe(out / "weights.safetensors")
    assert about.network.name == "relief_generator"
    assert about.card is not None
    assert (about.card.stage, about.card.steps) == ("meso", 30)
    assert about.card.data == ("7 easy squares of seed 0",)
    assert about.card.figures["slope_left"] == pytest.approx(float(measured[-1]["slope_left"]), abs=1e-4)
    load_network(out / "weights.safetensors", RELIEF_GENERATOR)


def test_stopped_at_any_step_it_ends_with_the_same_weights(values, tmp_path):
    """Also between two checkpoints; SIGTERM, as a machine sends it that is switched off."""
    level = {"optimizer": {"rate": 2e-3, "warmup": 0, "schedule": "constant"}}
    train_meso(check_meso_config(values(steps=7, out=str(tmp_path / "whole"), **level)))
    for steps in (3, 4, 7):
        train_meso(check_meso_config(values(steps=steps, **level)))
    assert weights_equal(tmp_path / "whole" / "weights.safetensors", tmp_path / "run" / "weights.safetensors")
    last = "checkpoints/step-00000007.safetensors"
    assert weights_equal(tmp_path / "whole" / last, tmp_path / "run" / last), "moments and average"
    assert [row["step"] for row in rows(tmp_path / "run" / "log.csv")] == ["2", "3", "4", "6", "7"]


def test_a_signal_ends_it_after_the_step(values, tmp_path, monkeypatch):
    class Interrupted(LightRecipe):
        count = 0

        def relief(self, batch):
            if self.network.training:
                Interrupted.count += 1
            if Interrupted.count == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().relief(batch)

    monkeypatch.setattr(run, "make_recipe", lambda config: Interrupted(make_recipe(config).network))
    outcome = train_meso(check_meso_config(values()))
    assert (outcome.step, outcome.finished) == (2, False)
    assert [p.stem for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]


def test_a_number_that_is_not_finite_stops_it_before_the_weights(values, tmp_path, monkeypatch):
    class Broken(LightRecipe):
        def relief(self, batch):
            return super().relief(batch) * (np.nan if self.network.training else 1)

    monkeypatch.setattr(run, "make_recipe", lambda config: Broken(make_recipe(config).network))
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan.*lower optimizer\.rate"):
        train_meso(check_meso_config(values()))
    state = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values())


def test_another_configuration_or_other_squares_are_refused(values):
    train_meso(check_meso_config(values(steps=1)))
    with pytest.raises(TrainingError, match=r"optimizer\.rate: 0\.002, now 0\.1"):
        train_meso(check_meso_config(values(optimizer={"rate": 0.1, "warmup": 2})))
    with pytest.raises(TrainingError, match=r"data: .*'squares': 7.*, now .*'squares': 9"):
        train_meso(check_meso_config(values(data=[{"kind": "skin", "squares": 9, "seed": 0}])))
    started = check_meso_config(values(steps=1, optimizer={"rate": 0.1, "warmup": 2}))
    assert train_meso(started, fresh=True).finished


def test_the_papers_network_takes_a_step(values, tmp_path):
    loss = {"slope": 1.0, "height": 1.0}
    config = check_meso_config(values(network="paper", width=4, steps=1, batch=2, loss=loss))
    assert train_meso(config).finished
    weights = tmp_path / "run" / "weights.safetensors"
    about = describe(weights)
    assert (about.network.name, about.ngf) == ("meso_generator", 4)
    torch.manual_seed(config.seed)
    first = make_recipe(config).network.state_dict()
    trained = load_network(weights, MESO_GENERATOR).state_dict()
    changed = [name for name in first if not torch.equal(first[name], trained[name])]
    assert {name for name in first if name.endswith("weight")} <= set(changed)


def test_it_starts_from_weights_of_the_same_network(values, tmp_path):
    train_meso(check_meso_config(values(steps=2)))
    weights = str(tmp_path / "run" / "weights.safetensors")
    again = check_meso_config(values(init=weights))
    first = make_recipe(again).network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in load_file(weights).items())
    with pytest.raises(TrainingError, match="does not fit the network to train"):
        make_recipe(check_meso_config(values(init=weights, network="paper", width=4)))
