"""The report of a reconstruction as one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from mesoface.report import html

RGB = NDArray[np.uint8]
Figures = Sequence[tuple[str, RGB]]


@dataclass(frozen=True, eq=False)
class StageRow:
    """One line of the timing table.

    Args:
        name: for people.
        seconds: wall time.
        peak_mb: highest resident memory up to its end, MB; None where unknown.
    """

    name: str
    seconds: float
    peak_mb: float | None = None


@dataclass(frozen=True, eq=False)
class EvaluationTable:
    """A comparison with the true surface, as text.

    Args:
        columns: headings.
        rows: cells.
        summary: a line below.
        heatmap: the error on the surface, or None.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: str = ""
    heatmap: RGB | None = None


@dataclass(frozen=True, eq=False)
class ReportData:
    """What the page shows; empty parts are left out. Pictures are (H, W, 3) RGB uint8.

    Args:
        title: the capture's name.
        subtitle: one line below: format, what was done.
        facts: the few figures that matter: (figure, what it is).
        warnings: sentences for the user.
        photos: (view, picture with landmarks).
        scene: HTML of the view in 3D, from :func:`mesoface.report.turnable.turnable`.
        views: (caption, shaded picture) of the surface.
        relief: the same of the base mesh, the surface, and the surface with its relief exaggerated.
        photo_errors: (caption, photo beside rendering beside difference) of every view.
        photo_note: what these are, or why there are none, a sentence.
        maps: (caption, false colour picture with legend): displacement, confidence.
        stages: time and memory.
        scale: where the millimetres come from, a sentence.
        settings: (name, value).
        command: the command that makes the same again.
        evaluation: when the truth is known.
        files: (name, what it holds) of the files beside the report.
        versions: program and libraries, one line.
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    photos: Figures = ()
    scene: str = ""
    views: Figures = ()
    relief: Figures = ()
    photo_errors: Figures = ()
    photo_note: str = ""
    maps: Figures = ()
    stages: Sequence[StageRow] = ()
    scale: str = ""
    settings: Sequence[tuple[str, str]] = ()
    command: str = ""
    evaluation: EvaluationTable | None = None
    files: Sequence[tuple[str, str]] = field(default_factory=tuple)
    versions: str = ""


def reconstruct_page(data: ReportData) -> str:
    """A self-contained HTML page: it asks for nothing, and opens from disk."""
    lead = [f"<h1>{escape(data.title)}</h1>"]
    if data.subtitle:
        lead.append(html.paragraph(data.subtitle, soft=True))
    lead.append(html.notes(data.warnings))
    if data.facts:
        lead.append(html.facts(data.facts))
    about = [
        html.section("Scale", html.paragraph(data.scale)) if data.scale else "",
        html.section(
            "Settings",
            html.command(data.command) if data.command else "",
            html.pairs(data.settings),
        ),
    ]
    files = html.section("Files", html.pairs(data.files))
    blocks = [
        *lead,
        html.section(
            "The face",
            data.scene,
            html.paragraph("Without texture, in the light of a portrait studio.", soft=True)
            if data.views
            else "",
            html.gallery(data.views, width=250, photo=True),
        ),
        html.section(
            "Relief",
            html.paragraph(
                "Before and after measuring; the last one exaggerates what was measured, so that it is seen.",
                soft=True,
            )
            if data.relief
            else "",
            html.gallery(data.relief, width=330, photo=True),
        ),
        _evaluation(data.evaluation),
        html.section("Maps", html.gallery(data.maps, width=380)),
        html.section(
            "Photos against the face",
            html.paragraph(data.photo_note, soft=True) if data.photo_note else "",
            html.gallery(data.photo_errors, width=360, photo=True),
        ),
        html.section(
            "Photos and landmarks",
            html.paragraph(
                "Green landmarks count fully; red ones are turned away from the camera or contradict the"
                " other views, and do not.",
                soft=True,
            )
            if data.photos
            else "",
            html.gallery(data.photos, width=170, photo=True),
        ),
        html.section("Time and memory", _stages(data.stages)),
        f'<div class="columns"><div>{about[1]}</div><div>{about[0]}{files}</div></div>',
        f"<footer>{escape(data.versions)}</footer>" if data.versions else "",
    ]
    return html.page(f"{data.title} · mesoface", (block for block in blocks if block))


def _evaluation(evaluation: EvaluationTable | None) -> str:
    if evaluation is None:
        return ""
    figure: Iterable[tuple[str, RGB]] = ()
    if evaluation.heatmap is not None:
        figure = [("Distance to the true surface; grey: not compared.", evaluation.heatmap)]
    return html.section(
        "Against the true surface",
        html.table(evaluation.columns, evaluation.rows),
        html.paragraph(evaluation.summary, soft=True) if evaluation.summary else "",
        html.gallery(figure, width=700),
    )


def _stages(stages: Sequence[StageRow]) -> str:
    if not stages:
        return ""
    known = [stage.peak_mb for stage in stages if stage.peak_mb is not None]

    def memory(peak_mb: float | None) -> str:
        return "–" if peak_mb is None else f"{peak_mb / 1024:.2f}"

    rows = [((s.name, f"{s.seconds:.1f}", memory(s.peak_mb)), s.seconds) for s in stages]
    total = ("total", f"{sum(s.seconds for s in stages):.1f}", memory(max(known) if known else None))
    return html.bar_table(("stage", "seconds", "peak GiB"), rows, total)
