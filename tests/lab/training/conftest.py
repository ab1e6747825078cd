"""What is trained in a second: a toy network on tiles, and the light network on squares."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from mesoface.lab.training import pack, run
from mesoface.lab.training.config import MatchingConfig, ReliefConfig, RunConfig, check_config
from mesoface.lab.training.pack import write_shard
from mesoface.lab.training.relief import recipe as relief_recipe
from mesoface.lab.training.relief.pool import PoolFile, SquarePool, write_file
from mesoface.lab.training.relief.skin import Square
from mesoface.lab.training.run import train
from mesoface.lab.training.tile import write_tiles
from mesoface.relief.inputs import CHANNELS, high_pass

SQUARE = 32


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
    monkeypatch.setattr(run, "make_recipe", lambda config: toy.ToyRecipe())


@pytest.fixture
def pack_by_five(toy, tmp_path) -> Callable[..., Path]:
    """``pack_by_five(tiles)`` → a folder of packed tiles, in their order, five in a shard."""

    def write(tiles: Sequence[Any]) -> Path:
        for number, start in enumerate(range(0, len(tiles), 5)):
            write_shard(tmp_path / "packed" / f"{number:06d}.safetensors", tiles[start : start + 5])
        manifest = {"format": pack._FORMAT, "tiles": len(tiles)}
        (tmp_path / "packed" / "stream.json").write_text(json.dumps(manifest))
        return tmp_path / "packed"

    return write


@pytest.fixture
def values(toy, tmp_path) -> Callable[..., dict[str, Any]]:
    """``values(steps=…)`` → a configuration as plain values: two shards to train on, one to validate on."""
    for shard, seeds in (("tiles/0", range(3)), ("tiles/1", range(3, 5)), ("unseen/0", range(10, 13))):
        write_tiles(tmp_path / f"{shard}.npz", map(toy.make_toy_tile, seeds))
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


def easy_squares(seed: int, count: int) -> list[Square]:
    """Squares whose relief is an input of the network: it stands in the channel of measured form."""
    rng = np.random.default_rng(seed)
    squares = []
    for _ in range(count):
        valid = np.ones((SQUARE, SQUARE), bool)
        valid[:4, :4] = False
        noise = rng.normal(0, 0.6, valid.shape).astype(np.float32)
        relief = high_pass(cv2.GaussianBlur(noise, (0, 0), 1.5), valid)
        maps = np.zeros((CHANNELS, SQUARE, SQUARE), np.float32)
        maps[7], maps[-1] = 5 * relief, valid
        color = np.repeat(0.5 + relief[..., None], 3, 2).clip(0, 1)
        squares.append(Square(maps, relief, valid, color))
    return squares


@pytest.fixture
def easy_pools(tmp_path, monkeypatch) -> Callable[..., list[SquarePool]]:
    """What every source of a configuration stands for: one pool to train on; validation has another."""
    made: dict[int, SquarePool] = {}

    def pool(seed: int, count: int) -> SquarePool:
        if seed not in made:
            file = PoolFile(tmp_path / f"easy-{seed}.safetensors", easy_squares, (seed, count), count)
            write_file(file)
            made[seed] = SquarePool([file], count, SQUARE, 0.2, f"{count} easy squares of seed {seed}")
        return made[seed]

    def opened(sources: Sequence[Any], *_: object) -> list[SquarePool]:
        return [pool(source.seed, source.squares) for source in sources]

    monkeypatch.setattr(relief_recipe, "open_pools", opened)
    return opened


@pytest.fixture
def square_values(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The same for relief: seven squares to train on, five to validate on."""

    def make(every: int = 3, **changed: Any) -> dict[str, Any]:
        return {
            "out": str(tmp_path / "run"),
            "cache": str(tmp_path / "cache"),
            "steps": 6,
            "batch": 3,
            "size": SQUARE,
            "seed": 3,
            "average": 0.9,
            "checkpoint_every": 4,
            "log_every": 2,
            "data": [{"kind": "skin", "squares": 7, "seed": 0}],
            "validation": {"sources": [{"kind": "skin", "squares": 5, "seed": 1}], "every": every},
            "optimizer": {"rate": 2e-3, "warmup": 2},
            "machine": {"device": "cpu"},
        } | changed

    return make


@dataclass
class Trained:
    """One of the two kinds of networks, and how to train it.

    Args:
        config: ``config(steps=…)`` → a configuration.
        out: folder of the run.
        weight: name of a trained tensor.
        parts: columns of its log beside those that all have.
        error: the figure that a training lowers.
        calls: of the loss in a step.
    """

    config: Callable[..., RunConfig]
    out: Path
    weight: str
    parts: set[str]
    error: str
    calls: int

    def train(self, *, fresh: bool = False, **changed: Any) -> Any:
        return train(self.config(**changed), fresh=fresh)


@pytest.fixture(params=["tiles", "squares"])
def trained(request, tmp_path) -> Trained:
    """Both kinds, one after the other."""
    if request.param == "tiles":
        request.getfixturevalue("toy_training")
        values, model = request.getfixturevalue("values"), MatchingConfig
        rest = ("0.weight", {"square"}, "mean_mm", 2)
    else:
        request.getfixturevalue("easy_pools")
        values, model = request.getfixturevalue("square_values"), ReliefConfig
        rest = ("enter.weight", {"slope_left"}, "slope_left", 1)
    return Trained(lambda **changed: check_config(values(**changed), model), tmp_path / "run", *rest)


@pytest.fixture
def on_loss(monkeypatch) -> Callable[[Callable[[int, Any], Any]], None]:
    """``on_loss(f)``: loss number n of any recipe, from 1, becomes ``f(n, (loss, parts))``."""

    def hook(change: Callable[[int, Any], Any]) -> None:
        make = run.make_recipe
        count = 0

        def hooked(config: RunConfig) -> Any:
            recipe = make(config)
            loss = recipe.batch_loss

            def changed(samples, rng):
                nonlocal count
                count += 1
                return change(count, loss(samples, rng))

            recipe.batch_loss = changed
            return recipe

        monkeypatch.setattr(run, "make_recipe", hooked)

    return hook


@pytest.fixture(scope="session")
def a_few_steps() -> Callable[..., list[float]]:
    """``a_few_steps(recipe, tile, optimizer)`` → the losses of 25 steps on one tile."""

    def train_on(recipe: Any, tile: Any, optimizer: Any) -> list[float]:
        losses = []
        for _ in range(25):
            loss, _ = recipe.loss(tile, np.random.default_rng(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    return train_on


@pytest.fixture
def start(toy: ModuleType, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """``start(values, pause=…)`` → the toy's training in processes of their own; stderr goes to a file."""
    started: list[subprocess.Popen] = []

    def go(values: dict[str, Any], pause: float = 0.0, **more: str) -> subprocess.Popen:
        file = tmp_path / f"config{len(started)}.json"
        file.write_text(json.dumps(values))
        command = [sys.executable, toy.__file__, str(file), str(pause)]
        with (tmp_path / f"stderr{len(started)}").open("w") as stderr:
            env = {**os.environ, "OMP_NUM_THREADS": "1", **more}
            process = subprocess.Popen(command, stderr=stderr, start_new_session=True, env=env)
        started.append(process)
        return process

    yield go
    for process in started:
        for pid in (*toy.children(process.pid), process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
