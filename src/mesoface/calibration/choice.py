"""Which of many photos, or of a video's frames, are calibrated: sharp ones, spread over the arc."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.face_prior import face_pose
from mesoface.landmarks import Landmarks2D
from mesoface.landmarks.selection import farthest_points

Array = NDArray[np.float64]

_TYPICAL_FOCAL = 1.2  # over the longest side: a direction hardly depends on it
_BLURRED = 0.5  # of the median sharpness: below it a frame counts for little


def choose_photos(
    landmarks: Landmarks2D, sizes: NDArray[np.int64], sharpness: Array, count: int
) -> list[int]:
    """At most ``count`` photos, spread over the directions from which they see the face.

    The sharpest of the frontal ones comes first; then, time and again, the one whose angle to the nearest
    chosen one, times its sharpness, is largest (farthest-point sampling).

    Args:
        landmarks: of V photos.
        sizes: (V, 2) width and height.
        sharpness: (V,) of the face; NaN without one.
        count: how many to choose.

    Returns:
        indices in rising order; all photos that show a face when there are not more.
    """
    directions = np.full((len(sizes), 3), np.nan)
    for v in np.flatnonzero(landmarks.found):
        directions[v] = view_direction(landmarks.points[v], landmarks.weights[v], sizes[v])
    usable = np.flatnonzero(np.isfinite(directions).all(1))
    if len(usable) <= count:
        return usable.tolist()
    relative = sharpness[usable] / np.median(sharpness[usable])
    quality = np.clip(relative, 0.1, 1.0) * np.where(relative < _BLURRED, 0.2, 1.0)
    first = int(np.argmax((directions[usable, 2] + 1) * quality))
    return sorted(usable[farthest_points(directions[usable], count, first, quality)].tolist())


def view_direction(points: Array, weights: Array, size: NDArray[np.int64]) -> Array:
    """(3,) unit direction from the face to the camera, in the face's axes; NaN where that cannot be told.

    Args:
        points: (478, 2) landmarks, pixels.
        weights: (478,) in [0, 1].
        size: (2,) width and height of the photo.
    """
    focal = _TYPICAL_FOCAL * float(size.max())
    K = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
    pose = face_pose(points, weights, K)
    if pose is None:
        return np.full(3, np.nan)
    center = -pose[0].T @ pose[1]
    return center / float(np.linalg.norm(center))
