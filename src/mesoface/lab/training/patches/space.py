"""The UVD space that the cascade would search around, and where the truth lies in it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.patches.fields import waves
from mesoface.lab.training.patches.height import HeightField
from mesoface.lab.training.patches.scale import Scale, log_uniform
from mesoface.lab.training.patches.surface import MARGIN, Surface
from mesoface.uvd.space import UVDSpace, smooth_normals

_UP = np.array([0.0, 0.0, 1.0], np.float32)
# The relief that the smoothed surface misses takes up at most this share of the reach.
_RELIEF_SHARE = 0.6
# How far beyond the reach the true displacement is told, reaches.
_TOLD = 2.5


def draw_space(rng: np.random.Generator, surface: Surface, scale: Scale) -> UVDSpace:
    """The true surface, smoothed, and off by a smooth random error; with the margin around the patch.

    As after a level of the cascade the truth lies within reach of it nearly everywhere, and not quite.

    Args:
        rng: source of chance.
        surface: the truth.
        scale: the level.
    """
    around = scale.size + 2 * MARGIN
    line = np.arange(around) - (around - 1) / 2
    true = surface.positions(np.stack(np.broadcast_arrays(line[None], -line[:, None]), -1))
    normal = smooth_normals(
        true.astype(np.float32),
        np.ones((around, around), bool),
        scale.normal_sigma,
        np.broadcast_to(_UP, true.shape),
    )
    reach = scale.reach * scale.step * scale.texel_mm
    position, missed = _smoothed(true, normal, scale.base_sigma, _RELIEF_SHARE * reach)
    inner = slice(MARGIN, MARGIN + scale.size)
    shortest = log_uniform(rng, 2 * scale.base_sigma, scale.size)
    error = waves(rng, around, shortest=shortest, longest=around, slope=rng.uniform(1, 3))
    error = error + np.float32(rng.normal(0, 0.5))
    largest = np.percentile(np.abs(error[inner, inner]), 95)
    amount = rng.uniform(0.05, 1.05) * (reach - missed) / largest
    position = position + normal * (np.float32(amount) * error)[..., None]
    return UVDSpace(position.astype(np.float32), normal, np.ones((around, around), bool))


def middle_of(around: UVDSpace) -> UVDSpace:
    """The space of the patch alone, without the margin."""
    inner = (slice(MARGIN, around.size - MARGIN),) * 2
    return UVDSpace(around.position[inner], around.normal[inner], around.valid[inner])


def true_displacement(space: UVDSpace, heights: HeightField, reach_mm: float) -> NDArray[np.float32]:
    """Where the surface is, along the normals: of several meetings the nearest to zero counts.

    Args:
        space: (H, H) texels.
        heights: the true surface.
        reach_mm: the surface is looked for two and a half times as far.

    Returns:
        (H, H) mm, NaN where it was not met.
    """
    position, normal = space.position.astype(np.float64), space.normal.astype(np.float64)

    def above(d: NDArray) -> NDArray[np.float64]:
        point = position + normal * d[..., None]
        return point[..., 2] - heights.at(point[..., :2])

    steps = np.linspace(-_TOLD * reach_mm, _TOLD * reach_mm, 41)
    height = np.stack([above(np.full(space.valid.shape, d)) for d in steps])
    crosses = (height[:-1] <= 0) & (height[1:] > 0)
    middle = np.abs(steps[:-1] + steps[1:])[:, None, None]
    first = np.where(crosses, middle, np.inf).argmin(0)
    low, high = steps[first], steps[first + 1]
    for _ in range(10):  # bisection: 2^-10 of a 40th of the range
        half = (low + high) / 2
        inside = above(half) <= 0
        low, high = np.where(inside, half, low), np.where(inside, high, half)
    return np.where(crosses.any(0), (low + high) / 2, np.nan).astype(np.float32)


def moved(space: UVDSpace, R: NDArray[np.float64], t: NDArray[np.float64]) -> UVDSpace:
    """The space in a world moved by ``x → R x + t``."""
    position = space.position @ R.T + t
    return replace(
        space, position=position.astype(np.float32), normal=(space.normal @ R.T).astype(np.float32)
    )


def _smoothed(
    true: NDArray[np.float64], normal: NDArray[np.float32], sigma: float, limit: float
) -> tuple[NDArray[np.float64], float]:
    """``true`` (H, H, 3) smoothed by ``sigma`` texels or as much less as keeps 90 % within ``limit`` mm.

    Returns:
        the positions, and the distance within which 90 % lie.
    """
    for _ in range(6):
        position = cv2.GaussianBlur(true, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        away = np.abs(np.einsum("hwc,hwc->hw", true - position, normal))
        inner = away[MARGIN:-MARGIN, MARGIN:-MARGIN]
        missed = float(np.percentile(inner, 90))
        if missed <= limit:
            break
        sigma *= 0.7
    return position, missed
