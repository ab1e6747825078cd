"""Which views are compared with which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera


def baseline_angles(cameras: Sequence[Camera], center: NDArray) -> NDArray[np.float64]:
    """(V, V) angles, radians, between the directions from ``center`` (3,) to the cameras."""
    direction = np.stack([camera.center - center for camera in cameras])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.arccos(np.clip(direction @ direction.T, -1, 1))


def choose_pairs(
    cameras: Sequence[Camera], center: NDArray, *, best_deg: float = 22.0, limit: int = 24
) -> list[tuple[int, int]]:
    """Pairs of views with a useful baseline.

    Too small an angle measures depth badly; at too large a one the two photos look different. Every view
    gets its two best partners; the rest are filled up in the order of merit.

    Args:
        cameras: V cameras.
        center: (3,) a point on the face.
        best_deg: angle with the highest merit.
        limit: how many pairs at most, beyond those that every view is owed.

    Returns:
        pairs (i, j), i < j, sorted.
    """
    angle = np.degrees(baseline_angles(cameras, center))
    count = len(cameras)
    i, j = np.triu_indices(count, 1)
    merit = -np.abs(np.log(np.maximum(angle[i, j], 1e-3) / best_deg))
    order = np.argsort(-merit, kind="stable")
    chosen: set[int] = set()
    for view in range(count):
        own = [k for k in order if view in (i[k], j[k])]
        chosen.update(own[:2])
    for k in order:
        if len(chosen) >= limit:
            break
        if 5 <= angle[i[k], j[k]] <= 50:
            chosen.add(k)
    return sorted((int(i[k]), int(j[k])) for k in chosen)
