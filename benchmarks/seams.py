"""Whether the places where one photo hands over to the next can be seen in a texture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.texture.lookup import enlarge_rows
from mesoface.texture.paint import paint
from mesoface.texture.plan import TexturePlan
from mesoface.uvd.maps import erode


@dataclass(frozen=True)
class Seams:
    """Mean absolute difference between neighbouring texels, full scale 255.

    Args:
        across: of the texture where the photo with the largest share changes.
        photo: at the same places, inside of that photo alone: what is there without any blending.
        inside: of the texture everywhere else in the photographed region.
    """

    across: float
    photo: float
    inside: float


def measure_seams(plan: TexturePlan, color: NDArray[np.float32]) -> Seams:
    """The colour steps of a texture (T, T, 3) across the boundaries between photos.

    These lie along creases and occlusion edges, where skin itself changes: hence the photo beside it.
    """
    best = _best_photo(plan, len(color))
    # Not the rim of the whole: there the photographed region ends.
    seen = erode(best >= 0, 2)
    across, inside = _steps(color, best, seen)
    alone = []
    for v in range(len(plan.views)):
        photo, _ = _steps(_lay_out(plan, v, len(color)), best, seen, only=v)
        alone.append(photo)
    return Seams(*(255 * float(part.mean()) for part in (across, np.concatenate(alone), inside)))


def _steps(
    color: NDArray[np.float32], best: NDArray[np.int32], seen: NDArray[np.bool_], only: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Steps across boundaries (of photo ``only`` to the next, when given) and elsewhere."""
    across, inside = [], []
    for axis in (0, 1):
        step = np.abs(np.diff(color, axis=axis)).mean(-1)
        first, second = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        known = seen[first] & seen[second]
        changes = best[first] != best[second]
        across.append(step[known & changes & ((best[first] == only) if only is not None else True)])
        inside.append(step[known & ~changes])
    return np.concatenate(across), np.concatenate(inside)


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
