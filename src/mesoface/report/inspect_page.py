"""The inspection as one HTML file: pictures with landmarks, cameras from above, faults and remedies."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture, View
from mesoface.inspection.inspect import COLUMNS, UNITS, Inspection, ViewReport, coverage_sentence, view_cells

_PICTURE = 420  # pixels, the longer side of a picture in the page
_QUALITY = 82
_GOOD, _POOR = (74, 222, 128), (248, 113, 113)  # RGB of landmarks that count fully, and not at all
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #667085; --paper: #fbfbfa; --card: #ffffff;
  --line: #e4e4e0; --ok: #15803d; --warn: #b45309; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #98a1ae; --paper: #131517;
  --card: #1b1e22; --line: #2d3238; --ok: #4ade80; --warn: #fbbf24; --bad: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 40px 28px 64px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 36px 0 12px; }
.sub { color: var(--soft); margin: 0; }
.top { display: grid; grid-template-columns: minmax(300px, 1fr) minmax(280px, 400px); gap: 28px; }
.top > * { min-width: 0; }
@media (max-width: 760px) { .top { grid-template-columns: 1fr; } }
.fault, .note { border-left: 3px solid var(--warn); background: var(--card); margin: 0 0 10px;
  padding: 10px 14px; border-radius: 0 6px 6px 0; }
.fault.severe { border-color: var(--bad); } .fault.none { border-color: var(--ok); }
.note { border-color: var(--line); color: var(--soft); }
.fault b { display: block; font-weight: 600; } .fault span { color: var(--soft); }
.rig { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 8px; }
.rig svg { display: block; width: 100%; height: auto; } .rig + .sub { margin-top: 10px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
tr.missing td { color: var(--soft); } tr.distrusted td { color: var(--bad); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: 8px 12px; font-size: 13px; color: var(--soft); } figcaption b { color: var(--ink); }
figure.distrusted { border-color: var(--bad); }
.legend { color: var(--soft); font-size: 13px; } .dot { display: inline-block; width: 9px; height: 9px;
  border-radius: 50%; margin: 0 4px 0 10px; }
"""


def inspect_page(inspection: Inspection, capture: Capture) -> str:
    """A self-contained HTML page: no script, no request.

    Args:
        inspection: of ``capture``.
        capture: V views, for their pictures.
    """
    title = inspection.path.name if inspection.path is not None else "capture"
    usable = sum(view.usable for view in inspection.views)
    unit = "unit unknown" if inspection.mm_per_unit is None else f"{inspection.mm_per_unit:g} mm per unit"
    coverage = (
        f'<p class="sub">{escape(coverage_sentence(inspection.coverage))}.</p>' if inspection.coverage else ""
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · mesoface inspect</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="sub">{escape(inspection.format)} · {len(inspection.views)} views, {usable} usable · {unit}</p>
<div class="top">
<section>
<h2>What to mend</h2>
{_faults(inspection)}
</section>
<section>
<h2>Cameras from above</h2>
<div class="rig">{cameras_from_above(inspection.views)}</div>
{coverage}
</section>
</div>
<h2>Views</h2>
<div class="scroll">{_table(inspection.views)}</div>
<p class="legend">{UNITS}</p>
<h2>Pictures</h2>
<p class="legend">Landmarks by how much each counts:
<span class="dot" style="background: rgb{_GOOD}"></span>fully
<span class="dot" style="background: rgb{_POOR}"></span>not at all (turned away, or the views disagree)</p>
<div class="gallery">{_gallery(inspection, capture)}</div>
</body>
</html>
"""


def _faults(inspection: Inspection) -> str:
    items = [
        f'<p class="fault{" severe" if problem.severe else ""}"><b>{escape(problem.what)}</b>'
        f"<span>{escape(problem.remedy)}</span></p>"
        for problem in inspection.problems
    ] or ['<p class="fault none"><b>Nothing is wrong with this capture</b></p>']
    items += [f'<p class="note">{escape(note)}</p>' for note in inspection.notes]
    return "\n".join(items)


def _table(views: Iterable[ViewReport]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("view", *COLUMNS))
    rows = "\n".join(
        f'<tr class="{_status(view)}">'
        + "".join(f"<td>{escape(cell)}</td>" for cell in (view.name, *view_cells(view)))
        + "</tr>"
        for view in views
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _status(view: ViewReport) -> str:
    return "distrusted" if view.distrusted else ("usable" if view.face_found else "missing")


def _gallery(inspection: Inspection, capture: Capture) -> str:
    figures = []
    for v, (view, report) in enumerate(zip(capture.views, inspection.views, strict=True)):
        points = weights = None
        if inspection.landmarks2d is not None and report.face_found:
            points, weights = inspection.landmarks2d.points[v], inspection.landmarks2d.weights[v]
        if inspection.landmarks3d is not None and report.usable:
            weights = inspection.landmarks3d.weights[v]
        words = {"usable": "", "distrusted": "contradicts the other views", "missing": "no face found"}[
            _status(report)
        ]
        if report.usable and report.residual is not None:
            words = f"residual {report.residual:.1f} px"
        picture = _picture(view, points, weights)
        figures.append(
            f'<figure class="{_status(report)}"><img alt="view {escape(view.name)}" src="{picture}">'
            f"<figcaption><b>{escape(view.name)}</b> {words}</figcaption></figure>"
        )
    return "\n".join(figures)


def _picture(view: View, points: NDArray[np.float64] | None, weights: NDArray[np.float64] | None) -> str:
    """JPEG data URI of a view, small, with its landmarks."""
    scale = min(1.0, _PICTURE / max(view.image.shape[:2]))
    size = (max(1, round(view.camera.width * scale)), max(1, round(view.camera.height * scale)))
    small = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    picture = np.ascontiguousarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)[..., ::-1])
    if points is not None and weights is not None:
        at = (points + 0.5) * (np.array(size) / (view.camera.width, view.camera.height)) - 0.5
        for (x, y), weight in zip(at, weights, strict=True):
            if np.isfinite(x + y) and abs(x) < 2**14 and abs(y) < 2**14:
                colour = np.array(_POOR) + np.clip(weight, 0, 1) * (np.array(_GOOD) - _POOR)
                centre = (round(x * 16), round(y * 16))  # cv2 draws at sixteenths of a pixel with shift 4
                cv2.circle(picture, centre, 18, tuple(colour[::-1].tolist()), -1, cv2.LINE_AA, 4)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def cameras_from_above(views: Iterable[ViewReport]) -> str:
    """SVG: the head from above, looking down the page, and the cameras around it, distances to scale."""
    parts = [
        '<svg viewBox="-160 -128 320 290" role="img" aria-label="cameras around the head, from above">',
        '<g fill="none" stroke="currentColor" stroke-opacity="0.12">'
        '<circle r="40"/><circle r="80"/><circle r="120"/><path d="M0 0V150M0 0L106 106M0 0L-106 106"/></g>',
        '<path d="M-17 -4C-17 -28 17 -28 17 -4C17 10 11 17 4 19L0 25L-4 19C-11 17 -17 10 -17 -4Z" '
        'fill="currentColor" fill-opacity="0.16" stroke="currentColor" stroke-opacity="0.6"/>',
        '<g font-size="9" fill="currentColor" fill-opacity="0.5" text-anchor="middle">'
        '<text x="-124" y="-112">subject’s right</text><text x="124" y="-112">subject’s left</text></g>',
    ]
    placed = [
        (view, np.radians(view.azimuth), view.distance * np.cos(np.radians(view.elevation)))
        for view in views
        if view.azimuth is not None and view.distance is not None and view.elevation is not None
    ]
    if not placed:
        parts.append(
            '<text y="60" font-size="11" text-anchor="middle" fill="currentColor">no face found</text>'
        )
    furthest = max((distance for _, _, distance in placed), default=1.0)
    label_width = 5.0 * max((len(view.name) for view, _, _ in placed), default=0) + 6
    size = 1.0 if len(placed) <= 12 else 0.6
    labels: list[tuple[float, float]] = []
    for view, angle, distance in placed:
        radius = 124 * distance / furthest
        x, y = radius * np.sin(angle), radius * np.cos(angle)
        colour = {"usable": "var(--ok)", "distrusted": "var(--bad)", "missing": "var(--soft)"}[_status(view)]
        turn = f"translate({x:.1f} {y:.1f}) rotate({-np.degrees(angle):.1f}) scale({size})"
        parts.append(
            f'<g transform="{turn}" fill="{colour}">'
            f"<title>{escape(view.name)}: {view.azimuth:+.0f}° around, {view.elevation:+.0f}° up</title>"
            '<path d="M0 -3L-6 -13H6Z" fill-opacity="0.35"/>'
            '<rect x="-5" y="-4" width="10" height="8" rx="1.5"/></g>'
        )
        x, y = (radius + 15) * np.sin(angle), (radius + 15) * np.cos(angle) + 3
        if (
            len(placed) <= 12
            and len(view.name) <= 12
            and all(abs(x - a) > label_width or abs(y - b) > 10 for a, b in labels)
        ):
            labels.append((x, y))
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="8.5" text-anchor="middle" fill="{colour}">'
                f"{escape(view.name)}</text>"
            )
    return "".join([*parts, "</svg>"])
