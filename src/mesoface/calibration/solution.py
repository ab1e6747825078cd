"""What a method found: a camera for each photo, its figures, and the verdict whether it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.photos import Photo
from mesoface.captures.formats.files import listed
from mesoface.errors import LandmarkError
from mesoface.geometry.camera import Camera
from mesoface.inspection.inspect import Problem
from mesoface.landmarks import Landmarks2D, Landmarks3D, triangulate
from mesoface.landmarks.selection import face_size
from mesoface.landmarks.triangulation import viewing_rays

Array = NDArray[np.float64]

_FEWEST = 3
_MOST, _HALF = 0.8, 0.5  # share of the photos with a face that are placed: below the latter it has failed
_LARGE_ERROR = 2.0  # pixels at 1000 of the longest side
_NARROW, _FLAT = 8.0, 3.0  # degrees between the rays of a point: loose, and next to no depth
_LOOSE, _CONTRARY = 0.015, 0.03  # landmarks' median error over the face's size
_FEW_POINTS = 40  # in a photo
_TOO_MANY_WEAK = 0.4  # share of photos with fewer
_COUNTED = 0.05  # weight from which on a landmark's error counts


@dataclass(frozen=True, eq=False)
class PointTrack:
    """A point in space and where photos show it.

    Args:
        point: (3,) world units.
        views: indices of the photos.
        pixels: (K, 2) places in them.
    """

    point: Array
    views: Sequence[int]
    pixels: Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Cameras of V photos, up to a similarity of the world.

    Args:
        method: ``"features"`` or ``"landmarks"``.
        cameras: one for each photo, None where it was not placed.
        counts: (V,) points that each photo shows.
        errors: (V,) median reprojection error of these, pixels; NaN without any.
        error: median over all, pixels.
        angle: median over the points of the widest angle between two photos that show it, degrees.
        points: how many points there are.
        asked: indices of the photos that the method tried to place.
    """

    method: str
    cameras: tuple[Camera | None, ...]
    counts: NDArray[np.int64]
    errors: Array
    error: float
    angle: float
    points: int
    asked: tuple[int, ...]

    @property
    def placed(self) -> list[int]:
        """Indices of the photos that have a camera."""
        return [v for v, camera in enumerate(self.cameras) if camera is not None]


def describe(
    method: str, cameras: Sequence[Camera | None], tracks: Sequence[PointTrack], asked: Sequence[int]
) -> Solution:
    """The solution with its figures.

    Args:
        method: see :class:`Solution`.
        cameras: one for each photo, None where it was not placed.
        tracks: what was followed; of placed photos only.
        asked: indices of the photos that the method tried to place.
    """
    view = np.array([v for track in tracks for v in track.views], np.int64)
    index = np.repeat(np.arange(len(tracks)), [len(track.views) for track in tracks])
    points = np.array([track.point for track in tracks]).reshape(-1, 3)
    pixels = np.concatenate([np.zeros((0, 2)), *(track.pixels for track in tracks)])
    error = np.full(len(view), np.nan)
    rays = np.full((len(view), 3), np.nan)
    for v in np.unique(view):
        camera, mine = cameras[v], view == v
        assert camera is not None
        error[mine] = np.linalg.norm(camera.project(points[index[mine]])[0] - pixels[mine], axis=1)
        rays[mine] = viewing_rays([camera], pixels[None, mine])[0]
    ends = np.searchsorted(index, np.arange(len(tracks) + 1))
    widest = [(rays[a:b] @ rays[a:b].T).min() for a, b in pairwise(ends)]
    shown = [error[view == v] for v in range(len(cameras))]
    errors = np.array([np.median(mine) if len(mine) else np.nan for mine in shown])
    return Solution(
        method,
        tuple(cameras),
        np.bincount(view, minlength=len(cameras)),
        errors,
        float(np.median(error)) if len(error) else np.nan,
        float(np.degrees(np.median(np.arccos(np.clip(widest, -1, 1))))) if widest else 0.0,
        len(tracks),
        tuple(asked),
    )


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a solution can be trusted.

    Args:
        level: ``"good"``, ``"doubtful"`` (usable, to be checked) or ``"failed"``.
        problems: what is wrong and what to do, the severe ones first.
        agreement: (V,) median error of each placed photo's landmarks, triangulated with these cameras, over
            the size of its face; NaN where that is unknown. About 0.01 for a detector on one rigid face.
        landmarks: triangulated from the placed photos, in the solution's world; None where that failed.
        placed: indices of the photos with a face and a camera, which ``landmarks`` are of.
    """

    level: str
    problems: tuple[Problem, ...]
    agreement: Array
    landmarks: Landmarks3D | None
    placed: tuple[int, ...]

    @property
    def rank(self) -> int:
        """0 for good, 1 for doubtful, 2 for failed."""
        return ("good", "doubtful", "failed").index(self.level)


def judge(photos: Sequence[Photo], landmarks: Landmarks2D, solution: Solution) -> Verdict:
    """Judge a solution by evidence of its own: landmarks, which structure from motion does not use.

    Args:
        photos: V photos.
        landmarks: as detected in them.
        solution: their cameras.
    """
    placed = [v for v in solution.placed if landmarks.found[v]]
    points, agreement = _triangulated(landmarks, solution, placed, len(photos))
    names = [photo.name for photo in photos]
    problems = [
        *_of_placement(names, landmarks, solution, placed),
        *_of_geometry(photos, solution),
        *_of_agreement(names, agreement, points, placed),
    ]
    problems.sort(key=lambda problem: not problem.severe)
    failed = any(problem.severe for problem in problems)
    level = "failed" if failed else ("doubtful" if problems else "good")
    return Verdict(level, tuple(problems), agreement, points, tuple(placed))


def _triangulated(
    landmarks: Landmarks2D, solution: Solution, placed: Sequence[int], count: int
) -> tuple[Landmarks3D | None, Array]:
    """Landmarks in space by the solution's cameras, and each photo's agreement."""
    agreement = np.full(count, np.nan)
    try:
        cameras = [camera for v in placed if (camera := solution.cameras[v]) is not None]
        points = triangulate(cameras, landmarks.select(placed))
    except LandmarkError:
        return None, agreement
    for v, residuals, weights in zip(placed, points.residuals, points.weights, strict=True):
        counted = residuals[(weights > _COUNTED) & np.isfinite(residuals)]
        if len(counted):
            agreement[v] = np.median(counted) / face_size(landmarks.points[v])
    return points, agreement


def _of_placement(
    names: Sequence[str], landmarks: Landmarks2D, solution: Solution, placed: Sequence[int]
) -> Iterator[Problem]:
    faces = [v for v in solution.asked if landmarks.found[v]]
    lost = [names[v] for v in faces if v not in placed]
    remedy = "take more photos between the others, some 15° apart, sharp and in the same light"
    if len(placed) < max(_FEWEST, _HALF * len(faces)):
        yield Problem(f"only {len(placed)} of {len(faces)} photos could be placed", remedy, severe=True)
    elif len(placed) < _MOST * len(faces):
        yield Problem(f"{len(lost)} of {len(faces)} photos could not be placed: {listed(lost)}", remedy)
    weak = [names[v] for v in placed if solution.counts[v] < _FEW_POINTS]
    if weak:
        yield Problem(
            f"too little of the skin ({_FEW_POINTS} points) is found again in other photos: {listed(weak)}",
            "check that they show the same person in the same light, and are sharp, or leave them out",
            severe=len(weak) > _TOO_MANY_WEAK * len(placed),
        )


def _of_geometry(photos: Sequence[Photo], solution: Solution) -> Iterator[Problem]:
    if solution.angle < _NARROW:
        yield Problem(
            f"points are seen under {solution.angle:.1f}° only (median of the widest angle)",
            "take photos from further to the sides: what is seen from one direction has no depth",
            severe=solution.angle < _FLAT,
        )
    limit = _LARGE_ERROR * max(max(photo.size) for photo in photos) / 1000
    if not solution.error <= limit:
        yield Problem(
            f"points miss their places by {solution.error:.1f} px (median)",
            "check that the face kept still, and try --cameras each, or shared",
        )


def _of_agreement(
    names: Sequence[str], agreement: Array, points: Landmarks3D | None, placed: Sequence[int]
) -> Iterator[Problem]:
    if points is None:
        yield Problem(
            "the face's landmarks cannot be located with these cameras",
            "take photos from different directions",
            severe=True,
        )
        return
    middle = float(np.nanmedian(agreement[list(placed)]))
    if middle > _LOOSE:
        yield Problem(
            f"the photos disagree about the face: its landmarks are {100 * middle:.1f} % of its size apart",
            "use photos of one person with one expression, mouth and eyes as they are in all of them",
            severe=middle > _CONTRARY,
        )
    odd = [names[v] for v, wrong in zip(placed, points.distrusted, strict=True) if wrong]
    if odd:
        yield Problem(
            f"landmarks contradict the other photos: {listed(odd)}",
            "leave these photos out: another person, another expression, or placed wrongly",
            severe=2 * len(odd) >= len(placed),
        )
