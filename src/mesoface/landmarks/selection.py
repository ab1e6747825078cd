"""Which views to use when there are more than needed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.errors import LandmarkError
from mesoface.geometry.mesh import unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

_SHARPNESS_SIZE = 256  # pixels that a face is brought to before its sharpness is measured
_EYE_CORNERS = {"mediapipe478": (33, 263), "ibug68": (36, 45)}
# Chin and a point above it that lies about as far forward, so that the line between them stands upright.
_UPRIGHT = {"mediapipe478": (152, 10), "ibug68": (8, 27)}


def select_views(
    capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D, count: int
) -> list[int]:
    """The best ``count`` views: spread around the face, sharp, with the whole face in them.

    The most frontal good view comes first; then, time and again, the view whose angle to the nearest chosen
    one, times its quality, is largest (farthest-point sampling). Distrusted views and views without a face
    are left out. The choice depends on nothing but the arguments.

    Args:
        capture: V views.
        landmarks2d: of its photos.
        landmarks3d: triangulated from them.
        count: how many to choose; all usable ones when there are not more.

    Returns:
        indices into the views, in the capture's order.
    """
    usable = np.flatnonzero(landmarks2d.found & ~landmarks3d.distrusted)
    if len(usable) <= count:
        return usable.tolist()
    directions = view_directions(capture, landmarks3d)
    quality = np.array([_quality(capture.views[v], landmarks2d.points[v]) for v in usable])
    sharpness = np.array([sharpness_of(capture.views[v], landmarks2d.points[v]) for v in usable])
    quality *= np.clip(sharpness / np.median(sharpness), 0.2, 1.0) ** 0.5
    front = face_front(landmarks3d)
    first = int(np.argmax((directions[usable] @ front + 1) * quality))
    return sorted(usable[farthest_points(directions[usable], count, first, quality)].tolist())


def farthest_points(directions: Array, count: int, first: int, quality: Array | None = None) -> list[int]:
    """Farthest-point sampling on the sphere.

    Args:
        directions: (N, 3) unit vectors.
        count: how many to choose.
        first: index of the one to start from.
        quality: (N,) factors on the angle to the nearest chosen one; 1 when left out.

    Returns:
        ``min(count, N)`` indices in the order of choice.
    """
    quality = np.ones(len(directions)) if quality is None else quality
    chosen = [first]
    gap = _angles(directions, directions[first])
    while len(chosen) < min(count, len(directions)):
        worth = gap * quality
        worth[chosen] = -1.0
        chosen.append(int(np.argmax(worth)))
        gap = np.minimum(gap, _angles(directions, directions[chosen[-1]]))
    return chosen


def view_directions(capture: Capture, landmarks3d: Landmarks3D) -> Array:
    """(V, 3) unit directions from the middle of the face to the cameras."""
    centers = np.stack([camera.center for camera in capture.cameras])
    return unit(centers - np.nanmean(landmarks3d.points, 0))


def face_axes(landmarks3d: Landmarks3D) -> Array:
    """(3, 3) unit rows: to the subject's left, up and out of the face, in the world; for the schemes we know.

    Raises:
        KeyError: the scheme is unknown.
        LandmarkError: its eye corners, chin or forehead were not triangulated.
    """
    right, left = landmarks3d.points[list(_EYE_CORNERS[landmarks3d.scheme])]
    chin, top = landmarks3d.points[list(_UPRIGHT[landmarks3d.scheme])]
    if not np.isfinite([right, left, chin, top]).all():
        raise LandmarkError(
            "no two views agree on eye corners, chin and forehead, so it is unknown where the face looks",
            remedy="add views that show them, or complete the landmark file",
        )
    x = unit(left - right)
    y = unit(top - chin - x * (x @ (top - chin)))
    return np.stack([x, y, np.cross(x, y)])


def face_front(landmarks3d: Landmarks3D) -> Array:
    """(3,) unit direction in which the face looks."""
    return face_axes(landmarks3d)[2]


def sharpness_of(view: View, points: Array) -> float:
    """Variance of the Laplacian over the face, brought to a common size and contrast, so that views compare.

    Args:
        view: the photo.
        points: (L, 2) landmarks in it; NaN where unknown.
    """
    return face_sharpness(view.image, points)


def face_sharpness(image: NDArray, points: Array) -> float:
    """:func:`sharpness_of` an (H, W, 3) RGB image, uint8 or float in [0, 1]."""
    low, high = _box(image.shape[1::-1], points)
    patch = image[low[1] : high[1] + 1, low[0] : high[0] + 1]
    factor = _SHARPNESS_SIZE / max(patch.shape[:2])
    size = (max(8, round(patch.shape[1] * factor)), max(8, round(patch.shape[0] * factor)))
    small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small.astype(np.float32), cv2.COLOR_RGB2GRAY)
    contrast = float(grey.var())
    return float(cv2.Laplacian(grey, cv2.CV_32F).var()) / contrast if contrast > 0 else 0.0


def share_inside(view: View, points: Array) -> float:
    """Share of the landmarks (L, 2) that lie inside the photo."""
    known = points[np.isfinite(points).all(1)]
    inside = ((known >= 0) & (known <= (view.camera.width - 1, view.camera.height - 1))).all(1)
    return float(inside.mean()) if len(known) else 0.0


def _quality(view: View, points: Array) -> float:
    return share_inside(view, points) ** 2


def _box(size: tuple[int, ...], points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last pixel of the landmarks' bounding box, inside a photo of ``size`` (width, height)."""
    last = np.array(size) - 1
    low = np.clip(np.floor(np.nanmin(points, 0)), 0, last - 8)
    high = np.clip(np.ceil(np.nanmax(points, 0)), low + 8, last)
    return low.astype(np.int64), high.astype(np.int64)


def _angles(directions: Array, one: Array) -> Array:
    return np.arccos(np.clip(directions @ one, -1, 1))
