"""Whether the places where one photo hands over to the next can be seen in a texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.texture.lookup import enlarge_rows
from mesoface.texture.plan import TexturePlan
from mesoface.uvd.maps import dilate, erode

# Texels to both sides of a boundary that count as beside it.
_BESIDE = 12


@dataclass(frozen=True)
class Seams:
    """Mean absolute difference between neighbouring texels, full scale 255.

    Args:
        across: where the photo with the largest share changes.
        beside: around those places, but not across.
        inside: everywhere else in the photographed region.
    """

    across: float
    beside: float
    inside: float


def measure_seams(plan: TexturePlan, color: NDArray[np.float32]) -> Seams:
    """The colour steps of a texture (T, T, 3), across the boundaries between photos and elsewhere."""
    best = _best_photo(plan, len(color))
    # Not the rim of the whole: there the photographed region ends.
    seen = erode(best >= 0, 2)
    right, down = best[:, 1:] != best[:, :-1], best[1:] != best[:-1]
    boundary = np.zeros(best.shape, bool)
    boundary[:, 1:] |= right
    boundary[1:] |= down
    near = dilate(boundary, _BESIDE)
    steps = [
        (np.abs(np.diff(color, axis=1)).mean(-1), right, near[:, 1:], seen[:, 1:] & seen[:, :-1]),
        (np.abs(np.diff(color, axis=0)).mean(-1), down, near[1:], seen[1:] & seen[:-1]),
    ]
    across = np.concatenate([step[crosses & known] for step, crosses, _, known in steps])
    beside = np.concatenate([step[~crosses & close & known] for step, crosses, close, known in steps])
    inside = np.concatenate([step[~close & known] for step, _, close, known in steps])
    return Seams(*(255 * float(part.mean()) for part in (across, beside, inside)))


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
