"""The quality of a capture before anything is reconstructed: its views, its coverage, its problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesoface.captures.capture import Capture, View
from mesoface.errors import LandmarkError
from mesoface.files.colour import LUMINANCE
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.inspection.findings import Coverage, Problem, ViewReport, find_problems
from mesoface.landmarks import LandmarkDetector, Landmarks2D, Landmarks3D, MediapipeDetector, triangulate
from mesoface.landmarks.selection import face_axes, face_sharpness, share_inside

Array = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class _Frame:
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
        report = ViewReport(view.name, camera.width, camera.height, focal, bool(found[v]))
        if landmarks2d is not None and found[v]:
            report = _with_picture(report, view, landmarks2d.points[v])
        if landmarks3d is not None and frame is not None:
            report = _with_space(report, camera, v, landmarks3d, frame)
        yield report


def _with_picture(report: ViewReport, view: View, points: Array) -> ViewReport:
    """Add what follows from the photo alone, with the face at ``points`` (L, 2)."""
    luminance = _face_luminance(view.image, points)
    return replace(
        report,
        face_size=float(np.nanmax(points[:, 1]) - np.nanmin(points[:, 1])),
        sharpness=face_sharpness(view.image, points),
        exposure=float(np.median(luminance)),
        clipped=float(((luminance <= 0.004) | (luminance >= 0.996)).mean()),
        inside=share_inside(view, points),
    )


def _with_space(
    report: ViewReport, camera: Camera, v: int, landmarks3d: Landmarks3D, frame: _Frame
) -> ViewReport:
    """Add what follows from the triangulated face for view ``v``."""
    left, up, front = frame.axes @ (camera.center - frame.middle)
    residuals = landmarks3d.residuals[v]
    counted = np.isfinite(residuals)
    if (landmarks3d.weights[v] > 0.05).sum() > 10:
        counted &= landmarks3d.weights[v] > 0.05
    return replace(
        report,
        distance=float(np.linalg.norm([left, up, front])),
        azimuth=float(np.degrees(np.arctan2(left, front))),
        elevation=float(np.degrees(np.arctan2(up, np.hypot(left, front)))),
        residual=float(np.median(residuals[counted])) if counted.any() else None,
        distrusted=bool(landmarks3d.distrusted[v]),
    )


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


COLUMNS = ("size", "focal", "distance", "azimuth", "elev.", "face", "error", "sharp", "light")
"""Headings of the table of views, after the name."""

UNITS = "size, focal length, height of the face and error of the landmarks in pixels; distance in world units"
"""What the numbers below :data:`COLUMNS` are in."""


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
