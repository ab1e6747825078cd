"""Squares cut from pairs at a given texel size, as if the measurement had missed their detail."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import unit
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.relief.pairs import Pair, PairMaps, read_pair
from mesoface.lab.training.relief.skin import MARGIN, SkinSquare, make_square, measured
from mesoface.relief.inputs import light_slopes

# Share of a square that is skin, at least, and how much coarser than requested a map's texels may be.
_LEAST_SKIN, _COARSEST = 0.7, 1.5
# How much larger or smaller than usual texels are, at most, where a square may lie.
_MOST_STRETCHED = 3.0
# Spread of a box as wide as one texel: what is blurred before every so manieth texel is taken.
_BOX = 12**-0.5


def cut_squares(
    pair: Pair, count: int, size: int, texel_mm: float, map_texel_mm: float | None, key: tuple[int, int]
) -> list[SkinSquare]:
    """Cut squares at random places of a pair.

    Args:
        pair: its files.
        count: of squares.
        size: side of a square, texels.
        texel_mm: size of a square's texel.
        map_texel_mm: see :func:`read_pair`.
        key: seed and number of the pair.

    Raises:
        MesofaceError: the pair cannot be read, its texels are too large, or it shows too little skin.
    """
    maps = read_pair(pair, map_texel_mm)
    coarsest = maps.skin_span_mm / min(len(maps.height), len(maps.color))
    if coarsest > _COARSEST * texel_mm:
        raise TrainingError(
            f"has texels of {coarsest:.3g} mm; squares of {texel_mm:g} mm were requested",
            path=pair.texture,
            remedy=f"set texel_mm = {coarsest:.2g} or more",
        )
    chance = _chances(maps, size * texel_mm)
    if not chance.any():
        raise TrainingError(
            f"shows too little skin for squares of {size} texels of {texel_mm:g} mm",
            path=pair.dpmap,
            remedy="request smaller ones; or check that the map is not empty, "
            "and that the mesh is in millimetres",
        )
    squares = []
    for n in range(count):
        rng = np.random.default_rng([*key, n])
        row, column = divmod(int(rng.choice(np.flatnonzero(chance))), chance.shape[1])
        squares.append(_cut(maps, row, column, size, texel_mm, rng))
    return squares


def _chances(maps: PairMaps, side_mm: float) -> NDArray[np.bool_]:
    """(1024, 1024) where the middle of a square may lie."""
    usual = maps.skin_span_mm
    if not side_mm <= usual:  # nor where there is no skin at all, and no number
        return np.zeros_like(maps.skin)
    side = round(side_mm / usual * len(maps.skin)) | 1
    share = cv2.boxFilter(maps.skin.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    stretched = np.maximum(maps.span_mm / usual, usual / np.maximum(maps.span_mm, 1e-6 * usual))
    return maps.skin & (share >= _LEAST_SKIN) & (stretched < _MOST_STRETCHED)


def _cut(
    maps: PairMaps, row: int, column: int, size: int, texel_mm: float, rng: np.random.Generator
) -> SkinSquare:
    """The square around the middle of a texel of ``maps.skin``."""
    n, coarse = size + 2 * MARGIN, len(maps.skin)
    # In shares of the unit square, from its top left.
    side = n * texel_mm / float(maps.span_mm[row, column])
    left, top = (column + 0.5) / coarse - side / 2, (row + 0.5) / coarse - side / 2

    def window(values: NDArray) -> NDArray[np.float32]:
        return _resampled(values, left, top, side, n)

    valid = window(maps.skin.astype(np.float32)) > 0.5
    color = np.clip(window(maps.color) / np.float32(np.iinfo(maps.color.dtype).max), 0, 1)
    height = window(maps.height) / np.float32(texel_mm)
    light = np.zeros((n, n, 2), np.float32)
    if maps.form is not None:
        position, normal = window(maps.form.position), unit(window(maps.form.normal))
        light = light_slopes(maps.form.light, position, normal, texel_mm)
    return make_square(color, light, height, measured(height, rng), valid)


def _resampled(values: NDArray, left: float, top: float, side: float, n: int) -> NDArray[np.float32]:
    """(n, n[, C]) a window of a map over the unit square; beyond the square the rim is repeated."""
    step = side * len(values) / n  # texels of the map for one of the window
    sigma = _BOX * step if step > 1 else 0.0
    around = int(np.ceil(3 * sigma)) + 2
    x, y = left * len(values), top * len(values)
    first_column, first_row = int(np.floor(x)) - around, int(np.floor(y)) - around
    extent = int(np.ceil(side * len(values))) + 2 * around + 2
    rows = np.clip(np.arange(first_row, first_row + extent), 0, len(values) - 1)
    columns = np.clip(np.arange(first_column, first_column + extent), 0, len(values) - 1)
    part = np.ascontiguousarray(values[np.ix_(rows, columns)], np.float32)
    if sigma:
        part = cv2.GaussianBlur(part, (0, 0), sigma)
    # Texel i of the window has its middle at x + (i + 1/2) step, of which texels' middles are at + 1/2.
    to_part = np.array(
        [[step, 0, x + step / 2 - 0.5 - first_column], [0, step, y + step / 2 - 0.5 - first_row]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE)
