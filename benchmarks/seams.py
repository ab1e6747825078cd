"""Whether the places where one photo hands over to the next can be seen in a texture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.texture.bake import paint
from mesoface.texture.plan import TexturePlan, enlarge_rows
from mesoface.uvd.maps import erode

# Classes of steps that are compared with each other.
_BINS = 24


@dataclass(frozen=True)
class Seams:
    """Mean absolute difference between neighbouring texels, full scale 255.

    Args:
        across: of the texture where the photo with the largest share changes.
        photo: at the same places, inside of that photo alone: what is there without any blending.
        matched: of the texture inside, at places where the photo's own step is as at the boundaries. Without
            seams it equals ``across``.
        inside: of the texture everywhere else in the photographed region.
    """

    across: float
    photo: float
    matched: float
    inside: float


def measure_seams(plan: TexturePlan, color: NDArray[np.float32]) -> Seams:
    """The colour steps of a texture (T, T, 3) across the boundaries between photos.

    These lie along creases and occlusion edges, where skin itself changes: hence the photo beside it, and the
    comparison with the inside at places where a photo changes as much.
    """
    best = _best_photo(plan, len(color))
    # Not the rim of the whole: there the photographed region ends.
    seen = erode(best >= 0, 2)
    texture, changes = _steps(color, best, seen)
    photo = np.zeros_like(texture)
    for v in range(len(plan.views)):
        step, _ = _steps(_lay_out(plan, v, len(color)), best, seen)
        shown = _at_first(best, seen) == v
        photo[shown] = step[shown]
    parts = texture[changes].mean(), photo[changes].mean(), _matched(texture, photo, changes)
    return Seams(*(255 * float(part) for part in (*parts, texture[~changes].mean())))


def _matched(
    texture: NDArray[np.float32], photo: NDArray[np.float32], changes: NDArray[np.bool_]
) -> np.floating:
    """Mean step of ``texture`` (N,) inside, weighted so that ``photo`` (N,) steps there as at ``changes``."""
    edges = np.quantile(photo[changes], np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, photo)
    count = np.bincount(bins[~changes], minlength=_BINS)
    mean = np.bincount(bins[~changes], texture[~changes], _BINS) / np.maximum(count, 1)
    return np.average(mean, weights=np.bincount(bins[changes], minlength=_BINS) * (count > 0))


def _steps(
    color: NDArray[np.float32], best: NDArray[np.int32], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N,) steps from each ``seen`` texel to the next, right and below, and whether ``best`` changes."""
    steps, changes = [], []
    for axis in (0, 1):
        first, second = _neighbours(axis)
        known = seen[first] & seen[second]
        steps.append(np.abs(np.diff(color, axis=axis)).mean(-1)[known])
        changes.append((best[first] != best[second])[known])
    return np.concatenate(steps), np.concatenate(changes)


def _at_first(values: NDArray, seen: NDArray[np.bool_]) -> NDArray:
    """(N,) ``values`` (T, T) at the first texel of each of the pairs of :func:`_steps`."""
    pairs = (_neighbours(axis) for axis in (0, 1))
    return np.concatenate([values[first][seen[first] & seen[second]] for first, second in pairs])


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index of every texel but the last along ``axis``, and of the next one each."""
    before = (slice(None),) * axis
    return (*before, slice(None, -1)), (*before, slice(1, None))


def _lay_out(plan: TexturePlan, v: int, size: int) -> NDArray[np.float32]:
    """(T, T, 3) photo ``v`` alone, with its gain."""
    alone = replace(
        plan,
        views=plan.views[v : v + 1],
        gains=plan.gains[v : v + 1],
        color=np.zeros_like(plan.color),
        smooth=np.zeros_like(plan.smooth[v : v + 1]),
        detail=np.ones_like(plan.detail[v : v + 1]),
    )
    return paint(alone, size)


def _best_photo(plan: TexturePlan, size: int) -> NDArray[np.int32]:
    """(T, T) index of the photo with the largest share at each texel, -1 where none has any."""
    rows = range(size)
    best = np.full((size, size), -1, np.int32)
    largest = np.zeros((size, size), np.float32)
    for v, share in enumerate(plan.detail):
        shown = enlarge_rows(share, rows, size)
        better = shown > largest
        best[better], largest[better] = v, shown[better]
    best[enlarge_rows(plan.skin.space.valid.astype(np.float32), rows, size) <= 0.5] = -1
    return best
