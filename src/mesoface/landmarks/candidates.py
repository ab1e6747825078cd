"""Which of the faces in the photos are the same, main one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.landmarks.rays import project_all

Array = NDArray[np.float64]

_AGREEMENT = 0.5  # face sizes between a face and where the other views say it must be


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
    of the most views agree wins. Where a view has one face only, that one is taken whatever the others say:
    whether its camera can be trusted is for triangulation to find out.

    Args:
        cameras: V cameras.
        candidates: per view the faces found, (478, 3) landmarks each.

    Returns:
        per view an index into its candidates, or None where the view has none.
    """
    alone = [
        most_prominent(faces, camera.width, camera.height)
        for camera, faces in zip(cameras, candidates, strict=True)
    ]
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
