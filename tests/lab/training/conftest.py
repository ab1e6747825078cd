"""A toy network, tiles that it can learn, and a configuration that trains it in a second."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mesoface.lab.training import run
from mesoface.lab.training.tile import write_tiles


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """``toy.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("training_toy", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy_training(toy, monkeypatch) -> None:
    """Whatever the configuration says, the toy is trained."""
    monkeypatch.setattr(run, "make_recipe", lambda config, stage: toy.ToyRecipe())


@pytest.fixture
def values(toy, tmp_path) -> Callable[..., dict[str, Any]]:
    """``values(steps=…)`` → a configuration as plain values: two shards to train on, one to validate on."""
    write_tiles(tmp_path / "tiles" / "0.npz", [toy.make_toy_tile(seed) for seed in range(3)])
    write_tiles(tmp_path / "tiles" / "1.npz", [toy.make_toy_tile(seed) for seed in range(3, 5)])
    write_tiles(tmp_path / "unseen" / "0.npz", [toy.make_toy_tile(seed) for seed in range(10, 13)])

    unseen = [{"kind": "tiles", "folder": str(tmp_path / "unseen")}]

    def make(every: int = 3, **changed: Any) -> dict[str, Any]:
        return {
            "out": str(tmp_path / "run"),
            "steps": 6,
            "batch": 2,
            "seed": 3,
            "checkpoint_every": 4,
            "log_every": 2,
            "data": [{"kind": "tiles", "folder": str(tmp_path / "tiles")}],
            "validation": {"sources": unseen, "every": every},
            "optimizer": {"rate": 0.01, "warmup": 2},
        } | changed

    return make
