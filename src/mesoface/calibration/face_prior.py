"""The generic face at the detector's landmarks: the structure that calibration by landmarks starts from.

Its pose before each photo also tells from which side the photo was taken, by which photos are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.face_models import fit_landmarks3d
from mesoface.face_models.correspondence import MEDIAPIPE_OVAL
from mesoface.face_models.generic import load_generic
from mesoface.geometry.mesh import unit
from mesoface.landmarks import Landmarks2D
from mesoface.landmarks.selection import farthest_points

Array = NDArray[np.float64]

SCHEME, COUNT = "mediapipe478", 478
SLIDING = np.isin(np.arange(COUNT), MEDIAPIPE_OVAL)
"""(478,) points of the outline, which slide along the face as it turns."""
_SKIN = np.arange(COUNT) < 468  # the others are irises, which move with the gaze
_EYES = ((range(468, 473), (33, 133)), (range(473, 478), (362, 263)))  # iris, corners of its eye
_SURE = 0.3  # weight from which on a landmark counts for the pose
_LANDMARK_MM = 1.5  # noise of triangulated landmarks
_FEWEST = 20
_TYPICAL_FOCAL = 1.2  # over the longest side: a direction hardly depends on it
_BLURRED = 0.5  # of the median sharpness: below it a frame counts for little


@cache
def mean_face() -> Array:
    """(478, 3) landmarks of the generic mean face, mm: x to the subject's left, y up, z out of the face."""
    model = load_generic()
    points = _at_landmarks(model.mean)
    points.setflags(write=False)
    return points


def fitted_face(points: Array) -> tuple[Array, float]:
    """The generic model's landmarks fitted to ``points`` (478, 3), and the RMS distance left, both in mm.

    The scale is the model's own: ``points`` are in millimetres, give or take.
    """
    fit = fit_landmarks3d(load_generic(), points, scheme=SCHEME, noise_mm=_LANDMARK_MM)
    return _at_landmarks(fit.vertices), float(np.sqrt(np.nanmean(fit.residuals**2)) / fit.scale)


def face_pose(pixels: Array, weights: Array, K: Array) -> tuple[Array, Array] | None:
    """Pose of the mean face before a pinhole camera, by SQPnP (Terzakis & Lourakis, ECCV 2020).

    Args:
        pixels: (478, 2) landmarks.
        weights: (478,) in [0, 1].
        K: (3, 3) intrinsics.

    Returns:
        (3, 3) rotation and (3,) translation, mm, face → camera; None when too few landmarks are sure.
    """
    sure = (weights > _SURE) & np.isfinite(pixels).all(1) & ~SLIDING & _SKIN
    if sure.sum() < _FEWEST:
        return None
    found, turn, shift = cv2.solvePnP(mean_face()[sure], pixels[sure], K, None, flags=cv2.SOLVEPNP_SQPNP)
    return (cv2.Rodrigues(turn)[0], shift[:, 0]) if found else None


def centered_intrinsics(focal: float, size: Sequence[int] | NDArray[np.int64]) -> Array:
    """(3, 3) intrinsics with the principal point in the middle of a photo of ``size`` (width, height)."""
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])


def choose_photos(
    landmarks: Landmarks2D, sizes: NDArray[np.int64], sharpness: Array, count: int
) -> list[int]:
    """At most ``count`` photos, spread over the directions from which they see the face.

    The sharpest of the frontal ones comes first; then, repeatedly, the one whose angle to the nearest
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
    """(3,) unit direction from the face to the camera, in the face's axes; NaN where that is unknown.

    Args:
        points: (478, 2) landmarks, pixels.
        weights: (478,) in [0, 1].
        size: (2,) width and height of the photo.
    """
    pose = face_pose(points, weights, centered_intrinsics(_TYPICAL_FOCAL * float(size.max()), size))
    return np.full(3, np.nan) if pose is None else unit(-pose[0].T @ pose[1])


def _at_landmarks(vertices: Array) -> Array:
    """(478, 3) the generic model's landmarks; irises stand in the middle of their eyes."""
    topology = load_generic().topology
    points = np.full((COUNT, 3), np.nan)
    points[topology.landmark_ids[SCHEME]] = topology.landmark_points(SCHEME, vertices)
    for iris, sides in _EYES:
        points[list(iris)] = points[list(sides)].mean(0)
    return points
