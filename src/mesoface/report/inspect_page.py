"""The inspection as one HTML file: pictures with landmarks, cameras from above, faults and remedies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mesoface.captures.capture import Capture
from mesoface.inspection.inspect import COLUMNS, UNITS, Inspection, ViewReport, coverage_sentence, view_cells
from mesoface.rendering.page import render
from mesoface.report.pictures import RGB, with_landmarks
from mesoface.report.rig import place_cameras, status_of

_PICTURE = 420  # pixels, the longer side of a picture in the page
_NO_POINTS = np.zeros((0, 2))


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
