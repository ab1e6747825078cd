"""The quality of a capture before anything is reconstructed: its views, its coverage, its problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesoface.captures.capture import Capture, View
from mesoface.errors import LandmarkError
from mesoface.files.images import LUMINANCE
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks import LandmarkDetector, Landmarks2D, Landmarks3D, MediapipeDetector, triangulate
from mesoface.landmarks.selection import face_axes, face_sharpness, share_inside

Array = NDArray[np.float64]

COLUMNS = ("size", "focal", "distance", "azimuth", "elev.", "face", "error", "sharp", "light")
"""Headings of the table of views, after the name."""
UNITS = "size, focal length, height of the face and error of the landmarks in pixels; distance in world units"
"""What the numbers below :data:`COLUMNS` are in."""

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


@dataclass(frozen=True, eq=False)
class Inspection:
    """What :func:`inspect` found.

    Args:
        path: the capture's folder, or None.
        format: name of its format.
        mm_per_unit: millimetres per world unit where known.
        views: a report for each view.
        coverage: None when fewer than two views are usable.
        problems: worst first.
        notes: remarks from reading and detection.
        landmarks2d: landmarks in the views, or None when too few show a face.
        landmarks3d: triangulated, or None.
    """

    path: Path | None
    format: str
    mm_per_unit: float | None
    views: tuple[ViewReport, ...]
    coverage: Coverage | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    landmarks2d: Landmarks2D | None
    landmarks3d: Landmarks3D | None


def inspect(capture: Capture, detector: LandmarkDetector | None = None) -> Inspection:
    """Examine a capture as a reconstruction would, without making one.

    A capture in which no face is found is not an error here: the inspection reports it.

    Args:
        capture: as loaded.
        detector: :class:`MediapipeDetector` when left out.
    """
    landmarks2d: Landmarks2D | None = None
    landmarks3d: Landmarks3D | None = None
    failure: LandmarkError | None = None
    try:
        landmarks2d = (detector or MediapipeDetector()).detect(capture)
        landmarks3d = triangulate(capture.cameras, landmarks2d)
        frame = _Frame(np.nanmean(landmarks3d.points, 0), face_axes(landmarks3d))
    except LandmarkError as error:
        failure, landmarks3d, frame = error, None, None
    views = tuple(_view_reports(capture, landmarks2d, landmarks3d, frame))
    coverage = _coverage(capture, views, frame)
    return Inspection(
        path=capture.path,
        format=capture.format,
        mm_per_unit=capture.mm_per_unit,
        views=views,
        coverage=coverage,
        problems=find_problems(views, coverage, failure),
        notes=capture.notes + (landmarks2d.notes if landmarks2d else ()),
        landmarks2d=landmarks2d,
        landmarks3d=landmarks3d,
    )


class _Frame(NamedTuple):
    """Where the face is: its middle (3,), and (3, 3) rows to its left, up and forward, in the world."""

    middle: Array
    axes: Array


def _view_reports(
    capture: Capture, landmarks2d: Landmarks2D | None, landmarks3d: Landmarks3D | None, frame: _Frame | None
) -> Iterator[ViewReport]:
    found = np.zeros(len(capture), bool) if landmarks2d is None else landmarks2d.found
    for v, view in enumerate(capture.views):
        camera = view.camera
        focal = float(np.sqrt(camera.K[0, 0] * camera.K[1, 1]))
        about: dict[str, Any] = {}
        if landmarks2d is not None and found[v]:
            about |= _of_picture(view, landmarks2d.points[v])
        if landmarks3d is not None and frame is not None:
            about |= _of_space(camera, v, landmarks3d, frame)
        yield ViewReport(view.name, camera.width, camera.height, focal, bool(found[v]), **about)


def _of_picture(view: View, points: Array) -> dict[str, Any]:
    """What a report has from the photo alone, with the face at ``points`` (L, 2)."""
    luminance = _face_luminance(view.image, points)
    return {
        "face_size": float(np.nanmax(points[:, 1]) - np.nanmin(points[:, 1])),
        "sharpness": face_sharpness(view.image, points),
        "exposure": float(np.median(luminance)),
        "clipped": float(((luminance <= 0.004) | (luminance >= 0.996)).mean()),
        "inside": share_inside(view, points),
    }


def _of_space(camera: Camera, v: int, landmarks3d: Landmarks3D, frame: _Frame) -> dict[str, Any]:
    """What a report has from the triangulated face, for view ``v``."""
    left, up, front = frame.axes @ (camera.center - frame.middle)
    residuals = landmarks3d.residuals[v]
    counted = np.isfinite(residuals)
    if (landmarks3d.weights[v] > 0.05).sum() > 10:
        counted &= landmarks3d.weights[v] > 0.05
    return {
        "distance": float(np.linalg.norm([left, up, front])),
        "azimuth": float(np.degrees(np.arctan2(left, front))),
        "elevation": float(np.degrees(np.arctan2(up, np.hypot(left, front)))),
        "residual": float(np.median(residuals[counted])) if counted.any() else None,
        "distrusted": bool(landmarks3d.distrusted[v]),
    }


def _face_luminance(image: NDArray[np.float32], points: Array) -> NDArray[np.float32]:
    """(N,) luminance of the pixels in the middle of the landmarks' bounding box, where there is only skin."""
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    centre, half = (low + high) / 2, (high - low) * 0.35
    height, width = image.shape[:2]
    x0, y0 = np.clip(centre - half, 0, (width - 2, height - 2)).astype(int)
    x1, y1 = np.clip(centre + half, (x0 + 1, y0 + 1), (width - 1, height - 1)).astype(int)
    return image[y0 : y1 + 1, x0 : x1 + 1].reshape(-1, 3) @ LUMINANCE


def _coverage(capture: Capture, views: Sequence[ViewReport], frame: _Frame | None) -> Coverage | None:
    usable = [v for v, view in enumerate(views) if view.usable and view.azimuth is not None]
    if frame is None or len(usable) < 2:
        return None
    azimuth = np.array([views[v].azimuth for v in usable], np.float64)
    elevation = np.array([views[v].elevation for v in usable], np.float64)
    directions = unit(np.stack([capture.cameras[v].center for v in usable]) - frame.middle)
    angles = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))
    np.fill_diagonal(angles, np.inf)
    return Coverage(
        azimuth=(float(azimuth.min()), float(azimuth.max())),
        elevation=(float(elevation.min()), float(elevation.max())),
        largest_gap=float(np.diff(np.sort(azimuth)).max()),
        baseline=float(angles.min(1).mean()),
    )


def print_inspection(inspection: Inspection, console: Console) -> None:
    """Print the inspection as a table of the views, the coverage, and the problems with their remedies."""
    usable = sum(view.usable for view in inspection.views)
    scale = "unknown unit" if inspection.mm_per_unit is None else f"{inspection.mm_per_unit:g} mm per unit"
    about = f" · {inspection.format} · {len(inspection.views)} views, {usable} usable · {scale}"
    console.print(Text.assemble((str(inspection.path or "capture"), "bold"), about))
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("view", no_wrap=True)
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for view in inspection.views:
        style = "" if view.usable else ("red" if view.distrusted else "dim")
        table.add_row(view.name, *view_cells(view), style=style)
    console.print(table)
    console.print(Text(UNITS, style="dim"))
    if inspection.coverage is not None:
        console.print(Text.assemble(("coverage  ", "bold"), coverage_sentence(inspection.coverage)))
    print_remarks(inspection.notes, inspection.problems, console)
    if not inspection.problems:
        console.print(Text("no problems found in this capture", style="green"))


def print_remarks(notes: Iterable[str], problems: Iterable[Problem], console: Console) -> None:
    """Print notes, and problems with their remedies, one a line."""
    for note in notes:
        console.print(Text.assemble(("note      ", "bold blue"), note))
    for problem in problems:
        label = ("error     ", "bold red") if problem.severe else ("warning   ", "bold yellow")
        console.print(Text.assemble(label, problem.what, (f" — {problem.remedy}", "dim")))


def view_cells(view: ViewReport) -> tuple[str, ...]:
    """The cells of a view below :data:`COLUMNS`; a dash where nothing is known."""

    def number(value: float | None, form: str, unit: str = "") -> str:
        return "–" if value is None else format(value, form) + unit

    return (
        f"{view.width}×{view.height}",
        f"{view.focal:.0f}",
        number(view.distance, ".4g"),
        number(view.azimuth, "+.0f", "°"),
        number(view.elevation, "+.0f", "°"),
        number(view.face_size, ".0f") if view.face_found else "no face",
        number(view.residual, ".1f") + (" !" if view.distrusted else ""),
        number(view.sharpness, ".2f"),
        number(view.exposure, ".2f"),
    )


def coverage_sentence(coverage: Coverage) -> str:
    """The coverage in words."""
    return (
        f"azimuth {coverage.azimuth[0]:+.0f}° to {coverage.azimuth[1]:+.0f}°, "
        f"elevation {coverage.elevation[0]:+.0f}° to {coverage.elevation[1]:+.0f}°, "
        f"largest gap {coverage.largest_gap:.0f}°, neighbours {coverage.baseline:.0f}° apart on average"
    )
