"""Landmarks in the photos and in space, and the protocol of what finds them.

A detector of one's own is any class with the members of :class:`LandmarkDetector`; nothing has to be
inherited or registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture


@dataclass(frozen=True, eq=False)
class Landmarks2D:
    """Landmarks of one face in every view.

    Args:
        points: (V, L, 2) pixels of the undistorted views; NaN where a view shows no face.
        weights: (V, L) confidence in [0, 1]; 0 where there is no point.
        scheme: which points these are: ``"mediapipe478"`` or ``"ibug68"``.
        notes: what was noticed (a second person, a view without a face), one sentence each.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    scheme: str = "mediapipe478"
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> NDArray[np.bool_]:
        """(V,) whether the view shows the face."""
        return (self.weights > 0).any(1)

    def select(self, views: Sequence[int] | NDArray[np.int64]) -> Landmarks2D:
        """The same of some views, in the order of ``views`` (indices)."""
        index = np.asarray(views, np.int64)
        return replace(self, points=self.points[index], weights=self.weights[index])


@dataclass(frozen=True, eq=False)
class Landmarks3D:
    """Landmarks in the capture's world.

    Args:
        points: (L, 3) world units; NaN where no two views agree on a point.
        weights: (V, L) how much each view contributed, in [0, 1]: 0 for a view in which the point is
            turned away or inconsistent with the others.
        residuals: (V, L) reprojection error, pixels; NaN where a view has no point.
        distrusted: (V,) views whose landmarks contradict the other views as a whole (a wrong camera).
        scheme: see :class:`Landmarks2D`.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    residuals: NDArray[np.float64]
    distrusted: NDArray[np.bool_]
    scheme: str = "mediapipe478"


class LandmarkDetector(Protocol):
    """Finds the landmarks of the main face in each view on its own: ``detect(capture) -> Landmarks2D``."""

    scheme: str
    """Which points it finds: ``"mediapipe478"`` or ``"ibug68"``."""

    def detect(self, capture: Capture) -> Landmarks2D:
        """Landmarks of ``capture``'s face, view by view.

        Raises:
            LandmarkError: fewer than two views show a face.
        """
