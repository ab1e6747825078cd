"""Where features may be followed: on the head, whatever moves behind it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_HEAD = 1.3  # size of the head over that of its landmarks: forehead, ears, chin


def head_mask(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """(H, W) the landmarks' convex hull, enlarged about the middle of its box to take in the head.

    Shoulders and hair that hangs down stay outside: they do not turn with the face.

    Args:
        points: (478, 2) landmarks, pixels; NaN where unknown.
        width: of the photo.
        height: of the photo.
    """
    known = points[np.isfinite(points).all(1)].astype(np.float32)
    hull = cv2.convexHull(known)[:, 0]
    middle = (hull.min(0) + hull.max(0)) / 2
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(middle + _HEAD * (hull - middle)).astype(np.int32)], 1)
    return mask.astype(bool)
