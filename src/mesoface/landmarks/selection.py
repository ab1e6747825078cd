"""Which views to use when there are more than needed, and which of several faces in them is the main one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.errors import LandmarkError
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks.triangulation import project_all
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

_SHARPNESS_SIZE = 256  # pixels that a face is brought to before its sharpness is measured
_EYE_CORNERS = {"mediapipe478": (33, 263), "ibug68": (36, 45)}
# Chin and a point above it that lies about as far forward, so that the line between them stands upright.
_UPRIGHT = {"mediapipe478": (152, 10), "ibug68": (8, 27)}
_AGREEMENT = 0.5  # face sizes between a face and where the other views place it


def select_views(
    capture: Capture, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D, count: int
) -> list[int]:
    """The best ``count`` views: spread around the face, sharp, with the whole face in them.

    The most frontal good view comes first; then, repeatedly, the view whose angle to the nearest chosen one,
    times its quality, is largest (farthest-point sampling). Distrusted views and views without a face
    are left out. The choice depends on nothing but the arguments.

    Args:
        capture: V views.
        landmarks2d: of its photos.
        landmarks3d: triangulated from them.
        count: how many to choose; all usable ones when there are not more.

    Returns:
        indices into the views, in the capture's order.
    """
    usable = usable_views(landmarks2d, landmarks3d)
    if len(usable) <= count:
        return usable.tolist()
    directions = view_directions(capture, landmarks3d)
    quality = view_qualities(capture, landmarks2d, usable)
    front = face_axes(landmarks3d)[2]
    first = int(np.argmax((directions[usable] @ front + 1) * quality))
    return sorted(usable[farthest_points(directions[usable], count, first, quality)].tolist())


def usable_views(landmarks2d: Landmarks2D, landmarks3d: Landmarks3D) -> NDArray[np.int64]:
    """Indices of the views that show the face and are trusted."""
    return np.flatnonzero(landmarks2d.found & ~landmarks3d.distrusted)


def view_qualities(capture: Capture, landmarks2d: Landmarks2D, views: NDArray[np.int64]) -> Array:
    """(N,) in [0, 1]: how far the whole face is in each of N photos, and sharp compared with their median.

    Args:
        capture: V views.
        landmarks2d: of its photos.
        views: indices of the N views.
    """
    quality = np.array([share_inside(capture.views[v], landmarks2d.points[v]) ** 2 for v in views])
    sharpness = np.array([face_sharpness(capture.views[v].image, landmarks2d.points[v]) for v in views])
    return quality * np.clip(sharpness / max(float(np.median(sharpness)), 1e-12), 0.2, 1.0) ** 0.5


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
    """(3, 3) unit rows in the world: to the subject's left, up and out of the face.

    Raises:
        KeyError: the scheme is unknown.
        LandmarkError: its eye corners, chin or forehead were not triangulated.
    """
    right, left = landmarks3d.points[list(_EYE_CORNERS[landmarks3d.scheme])]
    chin, top = landmarks3d.points[list(_UPRIGHT[landmarks3d.scheme])]
    if not np.isfinite([right, left, chin, top]).all():
        what = "no two views agree on eye corners, chin and forehead: the direction of the face is unknown"
        raise LandmarkError(what, remedy="add views that show them, or complete the landmark file")
    x = unit(left - right)
    y = unit(top - chin - x * (x @ (top - chin)))
    return np.stack([x, y, np.cross(x, y)])


def face_sharpness(image: NDArray, points: Array) -> float:
    """Variance of the Laplacian over the face, brought to a common size and contrast, so that views compare.

    Args:
        image: (H, W, 3) RGB, uint8 or float in [0, 1].
        points: (L, 2) landmarks in it; NaN where unknown.
    """
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


def _box(size: tuple[int, ...], points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last pixel of the landmarks' bounding box, inside a photo of ``size`` (width, height)."""
    last = np.array(size) - 1
    low = np.clip(np.floor(np.nanmin(points, 0)), 0, last - 8)
    high = np.clip(np.ceil(np.nanmax(points, 0)), low + 8, last)
    return low.astype(np.int64), high.astype(np.int64)


def _angles(directions: Array, one: Array) -> Array:
    return np.arccos(np.clip(directions @ one, -1, 1))


def face_center(points: Array) -> Array:
    """(2,) middle of a face's bounding box, pixels."""
    return (points[:, :2].min(0) + points[:, :2].max(0)) / 2


def face_size(points: Array) -> float:
    """Diagonal of a face's bounding box over √2, pixels: the side of a square face."""
    return float(np.linalg.norm(points[:, :2].max(0) - points[:, :2].min(0)) / np.sqrt(2))


def without_doubles(faces: Sequence[Array]) -> list[Array]:
    """Faces, each kept once, the larger first: (478, 3) landmarks each."""
    kept: list[Array] = []
    for face in sorted(faces, key=face_size, reverse=True):
        if all(np.linalg.norm(face_center(face) - face_center(k)) > 0.3 * face_size(k) for k in kept):
            kept.append(face)
    return kept


def prominence(points: Array, width: int, height: int) -> float:
    """How much a face is the subject of its photo, in [0, 1]: its size, halved towards the picture's edge."""
    off_center = np.abs(face_center(points) / (width, height) - 0.5).max() * 2
    return min(1.0, face_size(points) / min(width, height)) * (1 - 0.5 * min(1.0, float(off_center)))


def choose_main_face(cameras: Sequence[Camera], candidates: Sequence[Sequence[Array]]) -> list[int | None]:
    """Choose in each view the face that is the same person across the views, and the most prominent.

    Every pair of faces in two views proposes a place in space; the place on which the most prominent faces
    of the most views agree wins. Where a view has one face only, that one is taken in any case: triangulation
    finds out whether its camera can be trusted.

    Args:
        cameras: V cameras.
        candidates: per view the faces found, (478, 3) landmarks each.

    Returns:
        per view an index into its candidates, or None where the view has none.
    """
    pairs = zip(cameras, candidates, strict=True)
    alone = [most_prominent(faces, camera.width, camera.height) for camera, faces in pairs]
    if all(len(faces) <= 1 for faces in candidates):
        return alone
    best, best_score = alone, -1.0
    shown = [(v, i) for v, faces in enumerate(candidates) for i in range(len(faces))]
    for (v, i), (w, j) in combinations(shown, 2):
        if v == w:
            continue
        place = _meeting_point(cameras[v], candidates[v][i], cameras[w], candidates[w][j])
        if place is None:
            continue
        pixels = project_all(cameras, place[None])[0][:, 0]
        choice, score = list(alone), 0.0
        for k, faces in enumerate(candidates):
            gaps = [np.linalg.norm(face_center(face) - pixels[k]) / face_size(face) for face in faces]
            agreeing = [n for n, gap in enumerate(gaps) if gap < _AGREEMENT]
            if agreeing:
                nearest = min(agreeing, key=gaps.__getitem__)
                choice[k] = nearest
                score += prominence(faces[nearest], cameras[k].width, cameras[k].height)
        if score > best_score:
            best, best_score = choice, score
    return best


def most_prominent(faces: Sequence[Array], width: int, height: int) -> int | None:
    """Index of the face that is the subject of a photo of ``width`` × ``height``, None without a face."""
    scores = [prominence(face, width, height) for face in faces]
    return int(np.argmax(scores)) if scores else None


def _meeting_point(a: Camera, face_a: Array, b: Camera, face_b: Array) -> Array | None:
    """(3,) where the rays through two faces' centres come closest, if they do so in front of both cameras."""
    da, db = a.rays(face_center(face_a)[None])[0], b.rays(face_center(face_b)[None])[0]
    gap = b.center - a.center
    cosine = float(da @ db)
    if cosine > 1 - 1e-6:
        return None
    along_a, along_b = np.linalg.solve([[1, -cosine], [cosine, -1]], [da @ gap, db @ gap])
    if along_a <= 0 or along_b <= 0:
        return None
    return (a.center + da * along_a + b.center + db * along_b) / 2
