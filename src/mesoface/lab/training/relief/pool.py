"""Squares on disk: drawn or cut once, by several processes, and read from there at random.

A file holds a few dozen squares as arrays, uncompressed, so that one square is a few stretches of bytes. The
size of a pool is limited by the disk, not by memory.

Which square is sample k of a training, and how it is laid, is a function of (seed, k) alone, so that a run
can be resumed. There are eight ways to lay a square: quarter turns and reflections, with what has a direction
turned along.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.weights import check_file, first_line
from mesoface.lab.training.checkpoint import save_safetensors
from mesoface.lab.training.config import AnySquareSource, PairSource, ReliefConfig, SkinSource, TrainingError
from mesoface.lab.training.relief.pairs import Pair, cut_squares, find_pairs
from mesoface.lab.training.relief.skin import Square, draw_square
from mesoface.relief.inputs import CHANNELS
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import resumable_folder, run_all

MANIFEST = "squares.json"


@dataclass(frozen=True)
class PoolFile:
    """A file of a pool, and what makes it.

    Args:
        path: to write.
        make: of a module (it travels by its name to another process): ``make(*arguments)`` → the squares.
        arguments: picklable.
        squares: how many that gives.
    """

    path: Path
    make: Callable[..., list[Square]]
    arguments: tuple[Any, ...]
    squares: int


class SquarePool:
    """The squares of some files, numbered from 0.

    Args:
        files: in their order; all there.
        count: how many of their squares, the first ones, belong to it.
        size: side of a square, texels.
        texel_mm: size of a texel, mm.
        contents: a description that differs from that of other samples.

    Raises:
        TrainingError: a file is missing or damaged.
    """

    def __init__(self, files: Sequence[PoolFile], count: int, size: int, texel_mm: float, contents: str):
        self.texel_mm, self.contents, self._count = texel_mm, contents, count
        self._files = [_OpenFile(file.path, file.squares, size) for file in files]
        self._ends = np.cumsum([file.squares for file in files])

    def __len__(self) -> int:
        """How many squares there are."""
        return self._count

    def __getitem__(self, index: int) -> Square:
        """Read one square; nothing else of its file is."""
        file = int(np.searchsorted(self._ends, index, side="right"))
        return self._files[file].read(index - (int(self._ends[file - 1]) if file else 0))


def fill_pool(
    folder: Path,
    files: Sequence[PoolFile],
    recipe: dict[str, Any],
    *,
    workers: int,
    progress: ProgressCallback = silent,
) -> None:
    """Make the files of a pool that are not there yet.

    Args:
        folder: of the pool.
        files: in it.
        recipe: what all of its files, now and later, have in common; JSON.
        workers: processes at a time.
        progress: called after every file.

    Raises:
        MesofaceError: the folder holds other things, another process is filling it, or squares could not be
            made; the error gives the reason.
    """
    with resumable_folder(folder, MANIFEST, recipe):
        missing = [file for file in files if not file.path.exists()]
        if not missing:
            return
        try:
            run_all(
                write_file,
                missing,
                path=folder,
                name_of=lambda file: file.path.stem,
                kind="files of squares",
                workers=workers,
                done_before=len(files) - len(missing),
                preload=["torch", "scipy.ndimage", __name__],
                progress=progress,
            )
        except IncompleteError as error:  # training needs all of them
            raise TrainingError(error.message, path=folder, remedy=error.remedy) from None


def write_file(file: PoolFile) -> None:
    """Make the squares of a file and write it."""
    squares = file.make(*file.arguments)
    arrays = {
        "maps": np.stack([square.maps for square in squares]).astype(np.float16),
        "relief": np.stack([square.relief for square in squares]).astype(np.float16),
        "valid": np.stack([square.valid for square in squares]).astype(np.uint8),
        "color": np.rint(np.stack([square.color for square in squares]) * 255).astype(np.uint8),
    }
    save_safetensors(file.path, lambda temporary: safetensors.numpy.save_file(arrays, temporary))


class _OpenFile:
    """A file of a pool that is open."""

    def __init__(self, path: Path, squares: int, size: int):
        self._path = path
        check_file(path)
        expected = {
            "maps": [squares, CHANNELS, size, size],
            "relief": [squares, size, size],
            "valid": [squares, size, size],
            "color": [squares, size, size, 3],
        }
        try:
            self._file = safe_open(path, "np")
            shapes = {name: self._file.get_slice(name).get_shape() for name in self._file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self._damaged(first_line(error)) from None
        if shapes != expected:
            raise self._damaged("its arrays have other shapes")

    def read(self, n: int) -> Square:
        try:
            arrays = {name: self._file.get_slice(name)[n] for name in ("maps", "relief", "valid", "color")}
        except (SafetensorError, OSError) as error:
            raise self._damaged(first_line(error)) from None
        return Square(arrays["maps"], arrays["relief"], arrays["valid"] != 0, arrays["color"])

    def _damaged(self, why: str) -> MesofaceError:
        return TrainingError(
            f"is not a complete file of squares: {why}", path=self._path, remedy="delete it; it is made again"
        )


# To be raised whenever `draw_square` draws another square of the same random numbers.
_SKIN_GENERATION = 2
_PHONE_GENERATION = 1  # the same of skin as a phone photographs it
_PER_FILE = 40


def _skin_pool(source: SkinSource, config: ReliefConfig, progress: ProgressCallback) -> SquarePool:
    """The squares of a source, drawn first where they are not there; more of them is the same and more."""
    generation = _PHONE_GENERATION if source.phone else _SKIN_GENERATION
    kind = f"skin-phone-generation{generation}" if source.phone else f"skin-generation{generation}"
    folder = config.cache / f"{kind}-seed{source.seed}-size{config.size}"
    files = []
    for first in range(0, source.squares, _PER_FILE):
        arguments = (source.seed, first, _PER_FILE, config.size, source.phone)
        files.append(PoolFile(folder / f"{first:07d}.safetensors", draw_squares, arguments, _PER_FILE))
    recipe = {"format": "mesoface skin", "generation": generation}
    recipe |= {"seed": source.seed, "size": config.size} | ({"phone": True} if source.phone else {})
    fill_pool(folder, files, recipe, workers=config.machine.workers, progress=progress)
    photographed = " as a phone photographs it" if source.phone else ""
    contents = (
        f"{source.squares} squares of skin{photographed} of generation {generation}, seed {source.seed}"
    )
    return SquarePool(files, source.squares, config.size, source.texel_mm, contents)


def draw_squares(seed: int, first: int, count: int, size: int, phone: bool = False) -> list[Square]:
    """Squares number ``first`` and following of a seed; each depends on its number alone."""
    return [draw_square(np.random.default_rng([seed, first + n]), size, phone=phone) for n in range(count)]


# To be raised whenever `cut_squares` cuts other squares of the same files.
_PAIRS_GENERATION = 1


def _pair_pool(source: PairSource, config: ReliefConfig, progress: ProgressCallback) -> SquarePool:
    """The squares of a source, as evenly of its pairs as can be; cut first where they are not there."""
    pairs = find_pairs(source.folder)[: source.squares]
    recipe = {
        "format": "mesoface pairs",
        "generation": _PAIRS_GENERATION,
        "squares": source.squares,
        "seed": source.seed,
        "size": config.size,
        "texel_mm": source.texel_mm,
        "map_texel_mm": source.map_texel_mm,
        "pairs": {pair.name: _sizes(pair) for pair in pairs},
    }
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    folder = config.cache / f"pairs-{digest}"
    files = []
    for number, pair in enumerate(pairs):
        count = source.squares // len(pairs) + (number < source.squares % len(pairs))
        arguments = (pair, count, config.size, source.texel_mm, source.map_texel_mm, (source.seed, number))
        files.append(PoolFile(folder / f"{number:06d}.safetensors", cut_squares, arguments, count))
    fill_pool(folder, files, recipe, workers=config.machine.workers, progress=progress)
    contents = f"{source.squares} squares of {len(pairs)} pairs in {source.folder.name} ({digest})"
    return SquarePool(files, source.squares, config.size, source.texel_mm, contents)


def _sizes(pair: Pair) -> list[int]:
    """Bytes of its files: they identify the files that squares were cut from, with near certainty."""
    return [path.stat().st_size for path in (pair.texture, pair.dpmap, pair.mesh) if path is not None]


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
    turned: tuple[Any, ...] = (maps, relief[rows, columns], valid[rows, columns], color[rows, columns])
    return Square(*(np.ascontiguousarray(array) for array in turned))


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
        _skin_pool(source, config, progress)
        if isinstance(source, SkinSource)
        else _pair_pool(source, config, progress)
        for source in sources
    ]
