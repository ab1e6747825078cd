"""Squares on disk: drawn or cut once, by several processes, and read from there at random.

A file holds a few dozen squares as arrays, uncompressed, so that one square is a few stretches of bytes; how
large a pool may be is a matter of the disk, not of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.files.checkpoints import check_file, first_line
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.relief.skin import SkinSquare
from mesoface.relief.inputs import CHANNELS
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.resumable import resumable_folder, run_all

MANIFEST = "squares.json"

_PRELOAD = ("torch", "scipy.ndimage", "mesoface.lab.training.relief.pool")


@dataclass(frozen=True, eq=False)
class Square:
    """What there is to learn from one square of skin, as it is kept.

    Args:
        maps: (11, n, n) float16, see :func:`mesoface.relief.inputs.make_inputs`.
        relief: (n, n) float16, what the network shall say, texels.
        valid: (n, n) bool, where there is skin.
        color: (n, n, 3) uint8 sRGB.
    """

    maps: NDArray[np.float16]
    relief: NDArray[np.float16]
    valid: NDArray[np.bool_]
    color: NDArray[np.uint8]


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
    make: Callable[..., list[SkinSquare]]
    arguments: tuple[Any, ...]
    squares: int


class SquarePool:
    """The squares of some files, numbered from 0.

    Args:
        files: in their order; all there.
        count: how many of their squares, the first ones, belong to it.
        size: side of a square, texels.
        texel_mm: size of a texel, mm.
        contents: tells them from others, in words.

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
        progress: told after every file.

    Raises:
        MesofaceError: the folder holds other things, another process is filling it, or squares could not be
            made: the error says why.
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
                preload=_PRELOAD,
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
    with atomic_file(file.path) as temporary:
        safetensors.numpy.save_file(arrays, temporary)
        temporary.chmod(0o644)  # as every other file of ours; the library's are the owner's alone


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
            f"is no whole file of squares: {why}", path=self._path, remedy="delete it; it is made again"
        )
