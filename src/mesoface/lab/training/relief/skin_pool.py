"""A pool of squares of drawn skin."""

from __future__ import annotations

import numpy as np

from mesoface.lab.training.config import ReliefConfig, SkinSource
from mesoface.lab.training.relief.pool import PoolFile, SquarePool, fill_pool
from mesoface.lab.training.relief.skin import SkinSquare, draw_square
from mesoface.running.progress import ProgressCallback, silent

# To be raised whenever `draw_square` draws another square of the same random numbers.
_GENERATION = 2
_PER_FILE = 40


def skin_pool(source: SkinSource, config: ReliefConfig, progress: ProgressCallback = silent) -> SquarePool:
    """The squares of a source, drawn first where they are not there; more of them is the same and more.

    Raises:
        MesofaceError: they cannot be written, or their files are damaged.
    """
    folder = config.cache / f"skin-generation{_GENERATION}-seed{source.seed}-size{config.size}"
    files = [
        PoolFile(
            folder / f"{first:07d}.safetensors",
            draw_squares,
            (source.seed, first, _PER_FILE, config.size),
            _PER_FILE,
        )
        for first in range(0, source.squares, _PER_FILE)
    ]
    recipe = {"format": "mesoface skin", "generation": _GENERATION, "seed": source.seed, "size": config.size}
    fill_pool(folder, files, recipe, workers=config.machine.workers, progress=progress)
    contents = f"{source.squares} squares of skin of generation {_GENERATION}, seed {source.seed}"
    return SquarePool(files, source.squares, config.size, source.texel_mm, contents)


def draw_squares(seed: int, first: int, count: int, size: int) -> list[SkinSquare]:
    """Squares number ``first`` and following of a seed; each depends on its number alone."""
    return [draw_square(np.random.default_rng([seed, first + n]), size) for n in range(count)]
