"""Where a training runs, and what is missing for it."""

from __future__ import annotations

import sys

import pytest
from safetensors.torch import load_file

from mesoface.errors import MesofaceError
from mesoface.files.cards import TrainingCard
from mesoface.lab.training.config import Machine, check_config
from mesoface.lab.training.run import make_fabric, train


def test_without_fabric_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MesofaceError, match=r"pip install 'mesoface\[train\]'"):
        make_fabric(Machine())


def test_gpus_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(MesofaceError, match=r"machine\.devices = 2 GPUs were asked for, there are 1"):
        make_fabric(Machine(device="cuda", devices=2))


@pytest.mark.usefixtures("toy_training")
def test_mixed_precision_trains_too(values, tmp_path):
    config = check_config(values(machine={"precision": "bf16-mixed"}), "matching")
    outcome = train(config, "matching")
    assert outcome.finished
    assert {str(value.dtype) for value in load_file(outcome.weights).values()} == {
        "torch.float32",
        "torch.int64",
    }


@pytest.mark.usefixtures("toy_training")
def test_the_card_says_how_the_weights_came_to_be(values, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/mesoface", "train", "matching", "--config", "a b.toml"])
    train(check_config(values(), "matching"), "matching")
    card = TrainingCard.model_validate_json((tmp_path / "run" / "card.json").read_bytes())
    assert card.command == "mesoface train matching --config 'a b.toml'"
    assert card.data == ("tiles of captures in tiles",)
    assert (card.seed, card.steps, card.stage, card.parameters) == (3, 6, "matching", 249)
    assert card.config["optimizer"]["rate"] == 0.01
    assert card.figures["mean_mm"] > 0
