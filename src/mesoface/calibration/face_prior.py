"""The generic face at the detector's landmarks: the structure that calibration by landmarks starts from."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.face_models import fit_landmarks3d
from mesoface.face_models.correspondence import MEDIAPIPE_OVAL
from mesoface.face_models.generic import load_generic

Array = NDArray[np.float64]

SCHEME, COUNT = "mediapipe478", 478
SLIDING = np.isin(np.arange(COUNT), MEDIAPIPE_OVAL)
"""(478,) points of the outline, which slide along the face as it turns."""
_SKIN = np.arange(COUNT) < 468  # the others are irises, which move with the gaze
_EYES = ((range(468, 473), (33, 133)), (range(473, 478), (362, 263)))  # iris, corners of its eye
_SURE = 0.3  # weight of a landmark from which on it is asked for the pose
_LANDMARK_MM = 1.5  # noise of triangulated landmarks
_FEWEST = 20


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


def _at_landmarks(vertices: Array) -> Array:
    """(478, 3) the generic model's landmarks; irises stand in the middle of their eyes."""
    topology = load_generic().topology
    corners = topology.faces[topology.landmark_faces[SCHEME]]
    points = np.full((COUNT, 3), np.nan)
    points[topology.landmark_ids[SCHEME]] = np.einsum(
        "lk,lkc->lc", topology.landmark_bary[SCHEME], vertices[corners]
    )
    for iris, sides in _EYES:
        points[list(iris)] = points[list(sides)].mean(0)
    return points
