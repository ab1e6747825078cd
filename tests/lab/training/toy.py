"""A network so small that it trains in a second, and tiles that it can learn. Run as a script, it trains.

python toy.py CONFIG.json [seconds to pause at each sample]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mesoface.errors import MesofaceError
from mesoface.lab.training import run
from mesoface.lab.training.tile import Tile
from mesoface.lab.training.tile_recipe import TileRecipe

SIZE, VIEWS = 16, 3


def make_toy_tile(seed: int, *, known: bool = True, texel_mm: float = 0.5) -> Tile:
    """A tile whose photos' red channel is its truth: waves of a millimetre's height."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE
    truth = np.sin(2 * np.pi * (u * rng.uniform(0.5, 2) + v * rng.uniform(0.5, 2) + rng.uniform()))
    photo = np.stack([0.5 + truth / 4, *rng.uniform(0, 1, (2, SIZE, SIZE))], -1).astype(np.float16)
    position = np.stack([u, v, 0 * u], -1).astype(np.float32) * SIZE * texel_mm
    return Tile(
        images=(photo,) * VIEWS,
        projections=np.stack([_projection(20.0 * view, texel_mm) for view in range(VIEWS)]),
        position=position,
        normal=np.tile(np.float32([0, 0, 1]), (SIZE, SIZE, 1)),
        visibility=np.ones((VIEWS, SIZE, SIZE), np.float32),
        truth=truth.astype(np.float32) if known else np.full((SIZE, SIZE), np.nan, np.float32),
        texel_mm=texel_mm,
        step_mm=0.25,
        reach_mm=1.5,
    )


def _projection(aside: float, texel_mm: float) -> np.ndarray:
    """(3, 4) of a camera 100 mm away and ``aside`` of the tile, a pixel on a texel."""
    return np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, texel_mm / 100, texel_mm]]) @ np.block(
        [[np.eye(3), np.array([[aside], [0.0], [0.0]])], [np.zeros(3), 1.0]]
    )


class ToyRecipe(TileRecipe):
    """Displacement = a convolution of the first photo, normalised so that there are buffers as well."""

    def __init__(self, pause: float = 0.0):
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1))
        self._pause = pause

    def prepare(self, tile: Tile, rng: np.random.Generator) -> Tile:
        image = np.clip(tile.images[0] + rng.normal(0, 0.01, tile.images[0].shape), 0, 1).astype(np.float16)
        return Tile(**{**vars(tile), "images": (image, *tile.images[1:])})

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        time.sleep(self._pause)
        error = self._answer(tile, noise=float(rng.normal(0, 0.01)) + 0.01 * torch.randn(())) - _tensor(
            tile.truth
        )
        return (error**2).mean(), {"square": float((error.detach() ** 2).mean())}

    @torch.no_grad()
    def predict(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        answer = self._answer(tile).numpy()
        return answer, -np.abs(answer)

    def _answer(self, tile: Tile, noise: torch.Tensor | float = 0.0) -> torch.Tensor:
        return self.network(_tensor(tile.images[0]).permute(2, 0, 1)[None] + noise)[0, 0]


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values.astype(np.float32))


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_for(reached: Callable[[], bool], longest: float = 120.0) -> None:
    end = time.monotonic() + longest
    while not reached():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def main(file: str, pause: str = "0") -> None:
    from mesoface.lab.training.config import MatchingConfig, read_config

    run.make_recipe = lambda config: ToyRecipe(float(pause))  # type: ignore[assignment]
    try:
        outcome = run.train(read_config(Path(file), MatchingConfig))
    except MesofaceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(0 if outcome.finished or outcome.weights is None else 130)


if __name__ == "__main__":
    main(*sys.argv[1:])
