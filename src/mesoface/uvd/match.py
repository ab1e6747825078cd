"""What any way of matching hands on: where the surface is, and how far the photos agree on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.uvd.space import UVDSpace


@dataclass(frozen=True, eq=False)
class Match:
    """What the matching cascade measured.

    Args:
        space: UVD space whose zero is the measured surface.
        measured: (H, H) where at least two views agree on the surface.
        confidence: (H, H) float32 in [0, 1], 0 where not measured.
        views: the V views that were used, their cameras as corrected.
        visibility: (V, H, H) how well each of them sees each texel.
        used: (V,) their indices among the views that were given.
        notes: what was noticed about the views, one sentence each.
    """

    space: UVDSpace
    measured: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    views: tuple[View, ...]
    visibility: NDArray[np.float32]
    used: tuple[int, ...]
    notes: tuple[str, ...]
