"""The cheeks of a measured surface, found by its landmarks: skin without features, where bumps are errors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mesoface.landmarks.types import Landmarks3D

# Rings of MediaPipe's 478 landmarks around the smooth part of either cheek: below the lower lid, beside nose
# and mouth, above the jaw.
_RINGS = (
    (117, 118, 101, 36, 206, 207, 187, 147, 123),
    (346, 347, 330, 266, 426, 427, 411, 376, 352),
)
_SCHEME, _COUNT = "mediapipe478", 478
_NEAR = 10.0  # mm, how far a landmark may be from the surface


def cheeks(
    position: NDArray[np.float32], measured: NDArray[np.bool_], landmarks: Landmarks3D
) -> NDArray[np.bool_]:
    """Both cheeks as texels of a position map.

    A ring is drawn through the texels nearest to its landmarks, so that a face model need not know any.

    Args:
        position: (H, H, 3) mm, where ``measured``.
        measured: (H, H).
        landmarks: of the same face, mm.

    Returns:
        (H, H); nothing of a cheek whose landmarks are not on the surface, or of other landmarks than
        MediaPipe's.
    """
    region = np.zeros(measured.shape, np.uint8)
    if (landmarks.scheme, len(landmarks.points)) != (_SCHEME, _COUNT) or not measured.any():
        return region.astype(bool)
    texels = np.argwhere(measured)
    tree = cKDTree(position[measured])
    for ring in _RINGS:
        points = landmarks.points[list(ring)]
        if not np.isfinite(points).all():
            continue
        distance, nearest = tree.query(points)
        if distance.max() <= _NEAR:
            cv2.fillPoly(region, [texels[nearest][:, ::-1].astype(np.int32)], 1)
    return region.astype(bool)
