"""Whether cameras that were found can be trusted, in figures and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.photos import Photo
from mesoface.calibration.solution import Solution
from mesoface.captures.formats.files import listed
from mesoface.errors import LandmarkError
from mesoface.inspection.findings import Problem
from mesoface.landmarks import Landmarks2D, Landmarks3D, triangulate
from mesoface.landmarks.selection import face_size

Array = NDArray[np.float64]

_FEWEST = 3
_MOST, _HALF = 0.8, 0.5  # share of the photos with a face that are placed: below the latter it has failed
_LARGE_ERROR = 2.0  # pixels at 1000 of the longest side
_NARROW, _FLAT = 8.0, 3.0  # degrees between the rays of a point: loose, and next to no depth
_LOOSE, _CONTRARY = 0.015, 0.03  # landmarks' median error over the face's size
_FEW_POINTS = 40  # in a photo
_TOO_MANY_WEAK = 0.4  # share of photos with fewer
_COUNTED = 0.05  # weight of a landmark from which on its error is asked for


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is to be said of a solution.

    Args:
        level: ``"good"``, ``"doubtful"`` (go on, and look) or ``"failed"``.
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
    """Look at a solution from outside: by landmarks that structure from motion knows nothing of.

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
    index = list(placed)
    seen = Landmarks2D(landmarks.points[index], landmarks.weights[index], landmarks.scheme)
    try:
        points = triangulate([solution.camera(v) for v in placed], seen)
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
