"""Which square is sample k, and how it is laid: a function of (seed, k) alone, so that a run can be resumed.

There are eight ways to lay a square: quarter turns and reflections, with what has a direction turned along.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesoface.lab.training.config import AnySquareSource, ReliefConfig, SkinSource
from mesoface.lab.training.relief.pool import Square, SquarePool, pair_pool, skin_pool
from mesoface.running.progress import ProgressCallback, silent

WAYS = 8

# Channels of `make_inputs` that are components along columns and along rows: the light, and the slopes.
_ALONG_COLUMNS, _ALONG_ROWS = [3, 5], [4, 6]


def laid(square: Square, way: int) -> Square:
    """A square as it would have come, had its texture been laid otherwise.

    Args:
        square: any.
        way: 0 to 7; 1 reverses columns, 2 rows, 4 exchanges both before that.
    """
    maps, relief, valid, color = square.maps, square.relief, square.valid, square.color
    if way & 4:
        maps, relief, valid, color = maps.swapaxes(1, 2), relief.T, valid.T, color.swapaxes(0, 1)
    maps = maps.copy()
    if way & 4:
        maps[_ALONG_COLUMNS + _ALONG_ROWS] = maps[_ALONG_ROWS + _ALONG_COLUMNS]
    columns, rows = slice(None, None, -1 if way & 1 else 1), slice(None, None, -1 if way & 2 else 1)
    maps = maps[:, rows, columns]
    if way & 1:
        maps[_ALONG_COLUMNS] *= -1
    if way & 2:
        maps[_ALONG_ROWS] *= -1
    return Square(
        np.ascontiguousarray(maps),
        np.ascontiguousarray(relief[rows, columns]),
        np.ascontiguousarray(valid[rows, columns]),
        np.ascontiguousarray(color[rows, columns]),
    )


PlacedSquare = tuple[Square, float]
"""A square, and the size of its texels in mm."""

# What random numbers are for: streams that never meet; 2 is the loop's.
_ORDER, _WAY = range(2)


@dataclass(frozen=True, eq=False)
class Batch:
    """Squares as a network takes them.

    Args:
        maps: (B, 11, n, n) float32.
        color: (B, 3, n, n) float32 sRGB in [0, 1].
        relief: (B, 1, n, n) float32, the truth, texels.
        valid: (B, 1, n, n) float32, 1 where there is skin.
        texel_mm: (B, 1, 1, 1) float32, size of a texel.
    """

    maps: Tensor
    color: Tensor
    relief: Tensor
    valid: Tensor
    texel_mm: Tensor

    @staticmethod
    def of(squares: Sequence[PlacedSquare], device: str | torch.device) -> Batch:
        """Squares, each with the size of its texels in mm, put on a device."""

        def stacked(arrays: Sequence[NDArray]) -> Tensor:
            return torch.as_tensor(np.stack(arrays)).to(device).float()

        return Batch(
            stacked([square.maps for square, _ in squares]).contiguous(memory_format=torch.channels_last),
            stacked([square.color.transpose(2, 0, 1) for square, _ in squares]) / 255,
            stacked([square.relief[None] for square, _ in squares]),
            stacked([square.valid[None] for square, _ in squares]),
            torch.tensor([texel for _, texel in squares], device=device).reshape(-1, 1, 1, 1),
        )


class SquareSamples:
    """An endless sequence of squares, determined by the pools and the seed alone.

    In each round every square of every pool comes once, in another order.

    Args:
        pools: what they are from.
        seed: of the training.
    """

    def __init__(self, pools: Sequence[SquarePool], seed: int):
        self._pools, self._seed = pools, seed
        self._ends = np.cumsum([len(pool) for pool in pools])
        self.contents = self.described = tuple(pool.contents for pool in pools)

    def load(self, numbers: Sequence[int]) -> Generator[PlacedSquare, None, None]:
        """The samples of these numbers."""
        yield from map(self.__getitem__, numbers)

    def __getitem__(self, k: int) -> PlacedSquare:
        """Sample ``k``, and the size of its texels in mm."""
        turn, place = divmod(k, int(self._ends[-1]))
        index = int(_order(self._seed, turn, int(self._ends[-1]))[place])
        chosen = int(np.searchsorted(self._ends, index, side="right"))
        pool = self._pools[chosen]
        square = pool[index - (int(self._ends[chosen - 1]) if chosen else 0)]
        way = int(np.random.default_rng([self._seed, _WAY, k]).integers(WAYS))
        return laid(square, way), pool.texel_mm


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, turn]).permutation(count)


def open_pools(
    sources: Sequence[AnySquareSource], config: ReliefConfig, progress: ProgressCallback = silent
) -> list[SquarePool]:
    """The squares that sources stand for; made first where they are not there.

    Raises:
        MesofaceError: pairs are missing or not what they should be, or squares cannot be written.
    """
    return [
        skin_pool(source, config, progress)
        if isinstance(source, SkinSource)
        else pair_pool(source, config, progress)
        for source in sources
    ]
