"""Squares that a network learns in seconds, and a configuration that trains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mesoface.lab.training.relief import run
from mesoface.lab.training.relief.pool import PoolFile, SquarePool, write_file
from mesoface.lab.training.relief.skin import SkinSquare
from mesoface.relief.inputs import CHANNELS, high_pass

SIZE = 32


def easy_squares(seed: int, count: int) -> list[SkinSquare]:
    """Squares whose relief is in front of the network's eyes: it stands in the channel of measured form."""
    rng = np.random.default_rng(seed)
    squares = []
    for _ in range(count):
        valid = np.ones((SIZE, SIZE), bool)
        valid[:4, :4] = False
        relief = high_pass(
            cv2.GaussianBlur(rng.normal(0, 0.6, (SIZE, SIZE)).astype(np.float32), (0, 0), 1.5), valid
        )
        maps = np.zeros((CHANNELS, SIZE, SIZE), np.float32)
        maps[7], maps[-1] = 5 * relief, valid
        color = np.repeat(0.5 + relief[..., None], 3, 2).clip(0, 1)
        squares.append(SkinSquare(maps, relief, valid, color))
    return squares


@pytest.fixture
def easy_pools(tmp_path, monkeypatch) -> Callable[..., list[SquarePool]]:
    """What every source of a configuration stands for: one pool to train on; validation has another."""
    made: dict[int, SquarePool] = {}

    def pool(seed: int, count: int) -> SquarePool:
        if seed not in made:
            file = PoolFile(tmp_path / f"easy-{seed}.safetensors", easy_squares, (seed, count), count)
            write_file(file)
            made[seed] = SquarePool([file], count, SIZE, 0.2, f"{count} easy squares of seed {seed}")
        return made[seed]

    def opened(sources: Sequence[Any], *_: object) -> list[SquarePool]:
        return [pool(source.seed, source.squares) for source in sources]

    monkeypatch.setattr(run, "open_pools", opened)
    return opened


@pytest.fixture
def values(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``values(steps=…)`` → a configuration as plain values."""

    def make(**changed: Any) -> dict[str, Any]:
        return {
            "out": str(tmp_path / "run"),
            "cache": str(tmp_path / "cache"),
            "steps": 6,
            "batch": 3,
            "size": SIZE,
            "seed": 3,
            "average": 0.9,
            "checkpoint_every": 4,
            "log_every": 2,
            "data": [{"kind": "skin", "squares": 7, "seed": 0}],
            "validation": {"sources": [{"kind": "skin", "squares": 5, "seed": 1}], "every": 3},
            "optimizer": {"rate": 2e-3, "warmup": 2},
            "machine": {"device": "cpu"},
        } | changed

    return make
