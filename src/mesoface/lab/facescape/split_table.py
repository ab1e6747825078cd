"""The figures of a split: by capture, by expression, overall; as Markdown, CSV, JSON and a page."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.evaluation.metrics import COMPLETE_WITHIN
from mesoface.files.atomic import atomic_file
from mesoface.lab.facescape.layout import EXPRESSIONS, CaptureId
from mesoface.rendering.page import render

WORST = 10
"""Number of captures shown as the worst ones."""

_HEAD = ("chamfer", "mean", "median", "90 %", "≤ 0.2 mm", "normals", "complete")
_LEGEND = (
    "Millimetres, point to surface, inside the facial region; not aligned, the frame is the capture's own. "
    "chamfer: mean of ours → scan and scan → ours. mean, median, 90 %, ≤ 0.2 mm and normals (mean angle): "
    f"ours → scan. complete: share of the scan with our surface within {COMPLETE_WITHIN:g} mm. "
    "Rows over captures are means with equal weights."
)


@dataclass(frozen=True)
class Figures:
    """One result against its scan, or the mean over several.

    Args:
        chamfer: mean of both directions' mean distances, mm.
        mean: from the result to the scan, mm.
        median: likewise.
        p90: likewise, 90th percentile.
        within: share of the result within 0.2 mm.
        normals: mean angle between the surfaces' normals, degrees.
        complete: share of the scan's facial region with the result within 0.5 mm.
    """

    chamfer: float
    mean: float
    median: float
    p90: float
    within: float
    normals: float
    complete: float

    def cells(self) -> tuple[str, ...]:
        """As text."""
        lengths = (self.chamfer, self.mean, self.median, self.p90)
        return (
            *(f"{length:.3f}" for length in lengths),
            f"{100 * self.within:.1f} %",
            f"{self.normals:.2f}°",
            f"{100 * self.complete:.1f} %",
        )


def figures_of(evaluation: Mapping[str, Any]) -> Figures:
    """The figures of :meth:`mesoface.evaluation.Evaluation.to_dict`."""
    accuracy = evaluation["accuracy"]
    return Figures(
        chamfer=evaluation["chamfer"],
        mean=accuracy["mean"],
        median=accuracy["median"],
        p90=accuracy["p90"],
        within=accuracy["within"]["0.2"],
        normals=accuracy["normal_angle"],
        complete=evaluation["complete"],
    )


def mean_of(figures: Collection[Figures]) -> Figures:
    """The mean over one or more captures."""
    rows = [asdict(each) for each in figures]
    return Figures(**{name: fmean(row[name] for row in rows) for name in rows[0]})


@dataclass
class SplitTable:
    """The measurements of a split.

    Args:
        split: its name.
        figures: of the captures that were measured.
        unmeasured: why others were not.
        without_scan: captures that have a result and nothing to measure it against.
    """

    split: str
    figures: dict[CaptureId, Figures] = field(default_factory=dict)
    unmeasured: dict[CaptureId, str] = field(default_factory=dict)
    without_scan: list[CaptureId] = field(default_factory=list)

    def overall(self) -> Figures | None:
        """The mean over all captures, None when none was measured."""
        return mean_of(self.figures.values()) if self.figures else None

    def by_expression(self) -> dict[int, list[Figures]]:
        """{expression: the figures of its captures}, ascending."""
        groups: dict[int, list[Figures]] = {}
        for id in sorted(self.figures, key=lambda id: (id.expression, id.person)):
            groups.setdefault(id.expression, []).append(self.figures[id])
        return groups

    def worst(self, count: int) -> list[CaptureId]:
        """The captures with the largest chamfer distance, the worst first."""
        return sorted(self.figures, key=lambda id: (-self.figures[id].chamfer, id))[:count]


def write_tables(out: Path, split: SplitTable, pictures: Mapping[CaptureId, NDArray[np.float32]]) -> None:
    """Write ``table.md``, ``table.csv``, ``table.json`` and ``report.html``.

    Args:
        out: an existing folder.
        split: the figures.
        pictures: of the worst captures, for the page.
    """
    with atomic_file(out / "table.md") as temporary:
        temporary.write_text(_markdown(split), encoding="utf-8")
    with (
        atomic_file(out / "table.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows(_csv_rows(split))
    with atomic_file(out / "table.json") as temporary:
        temporary.write_text(json.dumps(_as_json(split), indent=1) + "\n", encoding="utf-8")
    with atomic_file(out / "report.html") as temporary:
        temporary.write_text(_page(split, pictures), encoding="utf-8")


def _expression_rows(split: SplitTable) -> list[tuple[str, ...]]:
    groups = split.by_expression()
    rows = [
        (f"{number} {EXPRESSIONS[number - 1]}", str(len(figures)), *mean_of(figures).cells())
        for number, figures in groups.items()
    ]
    overall = split.overall()
    return rows if overall is None else [*rows, ("all", str(len(split.figures)), *overall.cells())]


def _capture_rows(split: SplitTable, ids: Sequence[CaptureId]) -> list[tuple[str, ...]]:
    return [(id.key, id.expression_name, *split.figures[id].cells()) for id in ids]


def _unmeasured_rows(split: SplitTable) -> list[tuple[str, ...]]:
    reasons = split.unmeasured | dict.fromkeys(split.without_scan, "there is no scan to measure against")
    return [(id.key, id.expression_name, reason) for id, reason in sorted(reasons.items())]


def _markdown(split: SplitTable) -> str:
    parts = [
        f"# FaceScape, {split.split}: {len(split.figures)} measured",
        _LEGEND,
        _markdown_table(("expression", "captures", *_HEAD), _expression_rows(split)),
        "## Worst captures",
        _markdown_table(("capture", "expression", *_HEAD), _capture_rows(split, split.worst(WORST))),
    ]
    if rows := _unmeasured_rows(split):
        parts += ["## Not measured", _markdown_table(("capture", "expression", "why"), rows)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv_rows(split: SplitTable) -> list[tuple[object, ...]]:
    names = tuple(Figures.__dataclass_fields__)
    rows: list[tuple[object, ...]] = [("capture", "person", "expression", "status", *names, "why")]
    for id, figures in sorted(split.figures.items()):
        values = (round(value, 6) for value in asdict(figures).values())
        rows.append((id.key, id.person, id.expression_name, "measured", *values, ""))
    for key, expression, reason in _unmeasured_rows(split):
        person = CaptureId.parse(key).person
        rows.append((key, person, expression, "not measured", *("",) * len(names), reason))
    return rows


def _as_json(split: SplitTable) -> dict[str, Any]:
    overall = split.overall()
    return {
        "split": split.split,
        "overall": None if overall is None else asdict(overall),
        "expressions": {
            f"{number}_{EXPRESSIONS[number - 1]}": {"captures": len(figures), **asdict(mean_of(figures))}
            for number, figures in split.by_expression().items()
        },
        "captures": {id.key: asdict(figures) for id, figures in sorted(split.figures.items())},
        "not_measured": {key: reason for key, _, reason in _unmeasured_rows(split)},
    }


def _page(split: SplitTable, pictures: Mapping[CaptureId, NDArray[np.float32]]) -> str:
    title = f"FaceScape, {split.split}"
    overall = split.overall()
    figures = [(str(len(split.figures)), "captures measured")]
    if overall is not None:
        cells = overall.cells()
        figures += [(f"{cells[0]} mm", "chamfer"), (cells[5], "normals"), (cells[6], "complete")]
    if rows := _unmeasured_rows(split):
        figures.append((str(len(rows)), "not measured"))
    worst = [
        (f"{id.key} {id.expression_name}, {split.figures[id].chamfer:.3f} mm", pictures[id])
        for id in split.worst(WORST)
        if id in pictures
    ]
    return render(
        Path(__file__).parent / "templates" / "split.html",
        title=title,
        facts=figures,
        legend=_LEGEND,
        head=_HEAD,
        expressions=_expression_rows(split),
        unmeasured=[(f"{key} {name}", reason) for key, name, reason in rows],
        worst=worst,
        captures=_capture_rows(split, sorted(split.figures)),
    )
