"""The inspection as one HTML file: pictures with landmarks, cameras from above, faults and remedies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mesoface.captures.capture import Capture
from mesoface.inspection.inspect import COLUMNS, UNITS, Inspection, ViewReport, coverage_sentence, view_cells
from mesoface.rendering.page import render
from mesoface.report.pictures import RGB, with_landmarks

Status = Literal["usable", "distrusted", "missing"]
_MANY = 12  # from so many cameras on they are drawn smaller and without names
_PICTURE = 420  # pixels, the longer side of a picture in the page
_NO_POINTS = np.zeros((0, 2))


@dataclass(frozen=True)
class PlacedCamera:
    """A camera in the drawing, whose unit is 1/320 of its width.

    Args:
        name: of the view.
        status: which decides on the colour.
        turn: SVG transform to where it stands.
        about: its direction, for people.
        label: (x, y) of its name, or None where there is no room.
    """

    name: str
    status: Status
    turn: str
    about: str
    label: tuple[float, float] | None


def status_of(view: ViewReport) -> Status:
    """How far a view can be used."""
    return "distrusted" if view.distrusted else ("usable" if view.face_found else "missing")


def place_cameras(views: Iterable[ViewReport]) -> list[PlacedCamera]:
    """The views that see the face, where they stand around it; the farthest at 124 units from the head."""
    known = [
        (view, np.radians(view.azimuth), view.distance * np.cos(np.radians(view.elevation)))
        for view in views
        if view.azimuth is not None and view.distance is not None and view.elevation is not None
    ]
    furthest = max((distance for _, _, distance in known), default=1.0)
    label_width = 5.0 * max((len(view.name) for view, _, _ in known), default=0) + 6
    scale = 1.0 if len(known) <= _MANY else 0.6
    placed: list[PlacedCamera] = []
    labels: list[tuple[float, float]] = []
    for view, angle, distance in known:
        radius = 124 * distance / furthest
        x, y = radius * np.sin(angle), radius * np.cos(angle)
        turn = f"translate({x:.1f} {y:.1f}) rotate({-np.degrees(angle):.1f}) scale({scale})"
        label = (float(x + 15 * np.sin(angle)), float(y + 15 * np.cos(angle) + 3))
        clear = all(abs(label[0] - a) > label_width or abs(label[1] - b) > 10 for a, b in labels)
        named = len(known) <= _MANY and len(view.name) <= 12 and clear
        labels += [label] * named
        about = f"{view.name}: {view.azimuth:+.0f}° around, {view.elevation:+.0f}° up"
        placed.append(PlacedCamera(view.name, status_of(view), turn, about, label if named else None))
    return placed


def inspect_page(inspection: Inspection, capture: Capture) -> str:
    """A self-contained HTML page: no script, no request.

    Args:
        inspection: of ``capture``.
        capture: V views, for their pictures.
    """
    name = inspection.path.name if inspection.path is not None else "capture"
    usable = sum(view.usable for view in inspection.views)
    unit = "unit unknown" if inspection.mm_per_unit is None else f"{inspection.mm_per_unit:g} mm per unit"
    return render(
        Path(__file__).parent / "templates" / "inspect.html",
        title=f"{name} · mesoface inspect",
        name=name,
        subtitle=f"{inspection.format} · {len(inspection.views)} views, {usable} usable · {unit}",
        inspection=inspection,
        cameras=place_cameras(inspection.views),
        coverage=f"{coverage_sentence(inspection.coverage)}." if inspection.coverage else "",
        columns=("view", *COLUMNS),
        rows=[(view.name, *view_cells(view)) for view in inspection.views],
        statuses=[status_of(view) for view in inspection.views],
        units=UNITS,
        photos=list(_photos(inspection, capture)),
    )


def _photos(inspection: Inspection, capture: Capture) -> Iterator[tuple[str, str, str, RGB]]:
    """Name, remark, status and picture of every view."""
    for v, (view, report) in enumerate(zip(capture.views, inspection.views, strict=True)):
        points, weights = _NO_POINTS, None
        if inspection.landmarks2d is not None and report.face_found:
            points, weights = inspection.landmarks2d.points[v], inspection.landmarks2d.weights[v]
        if inspection.landmarks3d is not None and report.usable:
            weights = inspection.landmarks3d.weights[v]
        height, width = view.image.shape[:2]
        size = max(1, round(height * min(1.0, _PICTURE / max(height, width))))
        picture = with_landmarks(view.image, points, weights, height=size)
        yield view.name, _remark(report), status_of(report), picture


def _remark(report: ViewReport) -> str:
    if report.usable and report.residual is not None:
        return f"residual {report.residual:.1f} px"
    remarks = {"usable": "", "distrusted": "contradicts the other views", "missing": "no face found"}
    return remarks[status_of(report)]
