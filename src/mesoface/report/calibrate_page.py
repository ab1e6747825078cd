"""A calibration as one HTML file: the verdict, the cameras around the head, the photos with landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mesoface.calibration.calibrate import Calibration
from mesoface.calibration.photos import read_pixels
from mesoface.files.images import as_float
from mesoface.inspection.inspect import ViewReport
from mesoface.rendering.page import render
from mesoface.report.inspect_page import place_cameras
from mesoface.report.pictures import RGB, with_landmarks

COLUMNS = ("photo", "points", "error px", "landmarks %", "focal px", "azimuth", "elevation")
_RED, _HEIGHT = 0.04, 300  # disagreement at which landmarks are drawn red; pixels
_METHODS = {
    "features": "structure from motion on the skin's own detail",
    "landmarks": "the face's landmarks, followed on the skin",
}


def calibrate_page(calibration: Calibration) -> str:
    """A self-contained HTML page: no script, no request.

    Args:
        calibration: its photos must be on disk.
    """
    solution, verdict, scale = calibration.solution, calibration.verdict, calibration.scale
    views = view_reports(calibration)
    facts = [
        (verdict.level, f"by {_METHODS[solution.method]}"),
        (f"{len(views)} of {len(calibration.photos)}", "photos placed"),
        (f"{solution.error:.2f} px", "reprojection error, median"),
        (f"{solution.angle:.0f}°", "angle between the rays of a point, median"),
        (f"± {100 * scale.relative_uncertainty:.0f} %", f"scale, from {scale.source}"),
    ]
    words = [f"{problem.what}: {problem.remedy}" for problem in verdict.problems]
    tried = [f"The method {method} failed: {why}" for method, why in calibration.tried.items()]
    return render(
        Path(__file__).parent / "templates" / "calibrate.html",
        title=f"{calibration.source.name} · mesoface calibrate",
        name=calibration.source.name,
        facts=facts,
        notes=[*words, *tried, *calibration.notes],
        cameras=place_cameras(views),
        columns=COLUMNS,
        rows=list(table_rows(calibration)),
        photos=list(_pictures(calibration)),
    )


def view_reports(calibration: Calibration) -> list[ViewReport]:
    """The directions from which the placed photos see the face."""
    reports = []
    for v, (photo, camera) in enumerate(zip(calibration.photos, calibration.solution.cameras, strict=True)):
        if camera is None:
            continue
        left, up, front = camera.center
        reports.append(
            ViewReport(
                photo.name,
                photo.width,
                photo.height,
                float(np.sqrt(camera.K[0, 0] * camera.K[1, 1])),
                bool(calibration.landmarks.found[v]),
                distance=float(np.linalg.norm(camera.center)),
                azimuth=float(np.degrees(np.arctan2(left, front))),
                elevation=float(np.degrees(np.arctan2(up, np.hypot(left, front)))),
            )
        )
    return reports


def table_rows(calibration: Calibration) -> Iterator[tuple[str, ...]]:
    """The cells below :data:`COLUMNS` for every photo; dashes where it was not placed."""
    seen = {report.name: report for report in view_reports(calibration)}
    solution, agreement = calibration.solution, calibration.verdict.agreement
    for v, photo in enumerate(calibration.photos):
        report = seen.get(photo.name)
        if report is None or report.azimuth is None or report.elevation is None:
            yield (photo.name, *("–",) * (len(COLUMNS) - 1))
            continue
        yield (
            photo.name,
            str(solution.counts[v]),
            _cell(solution.errors[v], ".2f"),
            _cell(100 * agreement[v], ".1f"),
            f"{report.focal:.0f}",
            f"{report.azimuth:+.0f}°",
            f"{report.elevation:+.0f}°",
        )


def _pictures(calibration: Calibration) -> Iterator[tuple[str, RGB]]:
    for photo, camera, points, agreement in zip(
        calibration.photos,
        calibration.solution.cameras,
        calibration.landmarks.points,
        calibration.verdict.agreement,
        strict=True,
    ):
        if camera is None:
            continue
        trust = np.full(len(points), np.clip(1 - np.nan_to_num(agreement, nan=_RED) / _RED, 0, 1))
        picture = with_landmarks(as_float(read_pixels(photo)), points, trust, height=_HEIGHT)
        yield photo.name, picture


def _cell(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "–"
