"""What an inspection finds: a report for each view, the coverage of the face, and the problems in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mesoface.errors import LandmarkError

_EXPOSURE_SPREAD = 2.0  # brightest over darkest view
_GAP = 35.0  # degrees of azimuth between neighbouring views
_NARROW = 50.0  # degrees of azimuth in all
_LOOSE = 0.035  # residual over the face's height
_FRONTAL = 60.0  # degrees within which the landmark detector is reliable
_ANY = float("inf")
# The range that a number of a report must be in, what is wrong otherwise, and the remedy. Sharpness is in
# units of the median view's; below 250 pixels from forehead to chin no pore is resolved.
_LIMITS = (
    (
        *("inside", 0.97, _ANY, "the face is cut off by the picture's edge"),
        "frame the whole face, from hairline to chin and ear to ear",
    ),
    (
        *("face_size", 250.0, _ANY, "the face is less than 250 pixels high"),
        "move closer, or use a longer lens or larger photos: fine detail needs about 1000 pixels a face",
    ),
    (
        *("sharpness", 0.45, _ANY, "the face is much less sharp than in the other views"),
        "check focus, motion and depth of field",
    ),
    ("exposure", 0.08, _ANY, "the face is underexposed", "more light or a longer exposure"),
    ("exposure", 0.0, 0.90, "the face is overexposed", "less light or a shorter exposure"),
    (
        *("clipped", 0.0, 0.03, "parts of the face are clipped to pure white or black"),
        "soften the light (large sources, cross-polarisation) or expose for the highlights",
    ),
)


@dataclass(frozen=True)
class ViewReport:
    """What one view is like. Numbers about the face are None where none was found.

    Args:
        name: of the view.
        width: pixels, undistorted.
        height: pixels, undistorted.
        focal: focal length, pixels.
        face_found: whether the detector sees the face.
        face_size: height of the face in the photo, pixels.
        distance: from the camera to the middle of the face, world units.
        azimuth: degrees from the front of the face, positive towards the subject's left.
        elevation: degrees above the face's horizontal plane.
        residual: median reprojection error of the landmarks that the view is trusted with, pixels.
        sharpness: of the face, see :func:`.landmarks.selection.face_sharpness`; comparable between views.
        exposure: median luminance of the face, in [0, 1].
        clipped: share of the face's pixels that are pure black or white.
        inside: share of the landmarks inside the photo.
        distrusted: whether its landmarks contradict the other views.
    """

    name: str
    width: int
    height: int
    focal: float
    face_found: bool
    face_size: float | None = None
    distance: float | None = None
    azimuth: float | None = None
    elevation: float | None = None
    residual: float | None = None
    sharpness: float | None = None
    exposure: float | None = None
    clipped: float | None = None
    inside: float | None = None
    distrusted: bool = False

    @property
    def usable(self) -> bool:
        """Whether reconstruction may use the view."""
        return self.face_found and not self.distrusted


@dataclass(frozen=True)
class Coverage:
    """From where the usable views see the face, degrees.

    Args:
        azimuth: (leftmost, rightmost) about the face's vertical axis, 0 = frontal.
        elevation: (lowest, highest).
        largest_gap: largest step in azimuth between neighbouring views.
        baseline: mean angle between a view and its nearest neighbour.
    """

    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    largest_gap: float
    baseline: float


@dataclass(frozen=True)
class Problem:
    """Something that will make the result worse, or impossible.

    Args:
        what: one sentence.
        remedy: how to correct it.
        severe: whether it stands in the way of a reconstruction.
    """

    what: str
    remedy: str
    severe: bool = False


def find_problems(
    views: Sequence[ViewReport], coverage: Coverage | None, failure: LandmarkError | None
) -> tuple[Problem, ...]:
    """All problems of a capture, those that stand in the way first.

    Args:
        views: a report for each view.
        coverage: of the usable views.
        failure: what finding or triangulating the landmarks failed with.
    """
    problems = [*_of_views(views), *_of_coverage(coverage)]
    if failure is not None:
        problems.insert(0, Problem(failure.message, failure.remedy or "look at the photos", severe=True))
    return tuple(sorted(problems, key=lambda problem: not problem.severe))


def _of_views(views: Sequence[ViewReport]) -> Iterator[Problem]:
    seen = [view for view in views if view.face_found]
    if seen and len(seen) < len(views):
        yield Problem(
            f"no face found in {_names(v for v in views if not v.face_found)}",
            "left out; retake with the face upright and unobstructed, or drop from the capture",
        )
    if any(view.distrusted for view in views):
        yield Problem(
            f"{_names(v for v in views if v.distrusted)}: the landmarks contradict those of the other views",
            "left out; check whether these cameras were swapped, moved after calibration or belong to "
            "another shot",
        )
    good = [view for view in seen if view.usable]
    loose = [v for v in good if v.residual is not None and v.face_size and v.residual > _LOOSE * v.face_size]
    yield from _named(
        loose if len(good) > 2 else [],
        "the landmarks fit the other views loosely",
        "beyond 60° from the front that is usual; else check their calibration and that the face did not "
        "move between the shots",
    )
    sharp = float(np.median([v.sharpness for v in seen if v.sharpness is not None] or [0.0]))
    for value, low, high, what, remedy in _LIMITS:
        numbers = [(v, getattr(v, value)) for v in seen]
        least = low * sharp if value == "sharpness" else low
        beyond = [v for v, number in numbers if number is not None and (number < least or number > high)]
        yield from _named(beyond, what, remedy)
    exposures = [v.exposure for v in good if v.exposure]
    if len(exposures) > 1 and max(exposures) > _EXPOSURE_SPREAD * min(exposures):
        yield Problem(
            f"the brightest view is {max(exposures) / min(exposures):.1f} times as bright as the darkest",
            "fix exposure and white balance by hand; mesoface evens out gains, but noise and clipping stay",
        )


def _of_coverage(coverage: Coverage | None) -> Iterator[Problem]:
    if coverage is None:
        return
    low, high = coverage.azimuth
    if high - low < _NARROW:
        yield Problem(
            f"the views span only {high - low:.0f}° around the face",
            "add views from the sides (±45° or more): what no two views see cannot be measured",
        )
    else:
        if low > -20:
            yield _one_side("right", -low)
        if high < 20:
            yield _one_side("left", high)
    if coverage.largest_gap > _GAP:
        yield Problem(
            f"there is a gap of {coverage.largest_gap:.0f}° between neighbouring views",
            "add a view there: neighbours up to about 25° apart match best",
        )
    if min(abs(low), abs(high)) > _FRONTAL and low * high > 0:
        yield Problem(
            "no view is within 60° of the front",
            "add a frontal view: the landmarks are found from there",
            severe=True,
        )


def _one_side(side: str, reach: float) -> Problem:
    return Problem(
        f"the subject's {side} side is hardly seen: no view is further than {max(0.0, reach):.0f}° there",
        f"add views from the subject's {side}",
    )


def _named(views: Sequence[ViewReport], what: str, remedy: str) -> Iterator[Problem]:
    if views:
        yield Problem(f"{_names(views)}: {what}", remedy)


def _names(views: Iterator[ViewReport] | Sequence[ViewReport]) -> str:
    names = [view.name for view in views]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{'view' if len(names) == 1 else 'views'} {shown}"
