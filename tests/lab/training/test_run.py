"""Where a training runs, what is missing for it, and signals to stop."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from mesoface.errors import MesofaceError
from mesoface.files.weights import TrainingCard
from mesoface.lab.training.config import Machine, MatchingConfig, check_config
from mesoface.lab.training.processes import StopRequest
from mesoface.lab.training.run import make_fabric, train


def test_without_fabric_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MesofaceError, match=r"pip install 'mesoface\[train\]'"):
        make_fabric(Machine())


def test_gpus_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(MesofaceError, match=r"machine\.devices = 2, but the number of GPUs is 1"):
        make_fabric(Machine(device="cuda", devices=2))


@pytest.mark.usefixtures("toy_training")
def test_the_card_says_how_the_weights_came_to_be(values, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/mesoface", "train", "matching", "--config", "a b.toml"])
    train(check_config(values(), MatchingConfig))
    card = TrainingCard.model_validate_json((tmp_path / "run" / "card.json").read_bytes())
    assert card.command == "mesoface train matching --config 'a b.toml'"
    assert card.data == ("tiles of captures in tiles",)
    assert (card.seed, card.steps, card.stage, card.parameters) == (3, 6, "matching", 249)
    assert card.config["optimizer"]["rate"] == 0.01
    assert card.figures["mean_mm"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_remembered(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_changes_nothing():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
