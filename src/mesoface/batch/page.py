"""``batch.html``: the results of a batch, as one page that makes no request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import quote

import mesoface
from mesoface.batch.summary import CaptureRow
from mesoface.batch.thumbnail import THUMBNAIL
from mesoface.files.atomic import atomic_file
from mesoface.files.images import base64_text
from mesoface.rendering.page import render
from mesoface.results.files import REPORT

# (heading, figure of the row, how it is written, factor)
_SHOWN = (
    ("views", "views", "{:.0f}", 1.0),
    ("landmarks, px", "landmark_error_px", "{:.2f}", 1.0),
    ("measured", "measured", "{:.1f} %", 100.0),
    ("texel, mm", "texel_mm", "{:.2f}", 1.0),
    ("error, mm", "mean_mm", "{:.3f}", 1.0),
    ("normals", "normals_deg", "{:.1f}°", 1.0),
)


def write_page(
    out: Path, rows: Sequence[CaptureRow], *, total: int, elapsed: float, made_now: int, command: str
) -> None:
    """Write ``batch.html``, some 12 kB a capture.

    Args:
        out: the batch's folder; thumbnails come from the results in it.
        rows: of the finished captures.
        total: how many captures the batch has.
        elapsed: duration of this run of the batch, seconds.
        made_now: captures that finished in this run.
        command: the command that makes one of the results on its own.

    Raises:
        MesofaceError: it cannot be written.
    """
    failed = [row for row in rows if row.error is not None]
    done = [row for row in rows if row.error is None]
    columns = [column for column in _SHOWN if any(row.figures[column[1]] is not None for row in done)]
    left = total - len(rows)
    text = render(
        Path(__file__).parent / "templates" / "batch.html",
        title=f"{out.resolve().name}: batch",
        name=out.resolve().name,
        remark=f"A batch of {total} captures.",
        notes=[f"Stopped before its end: {left} captures were not tried."] if left else [],
        facts=_facts(done, failed, elapsed, made_now),
        failed=[(row.id, row.capture, row.error) for row in failed],
        headings=[*(column[0] for column in columns), "time", "memory"],
        done=[_result(out, row, columns) for row in done],
        command=command,
        footer=f"mesoface {mesoface.__version__}. The same figures are in batch.csv and batch.json.",
    )
    with atomic_file(out / "batch.html") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _facts(
    done: Sequence[CaptureRow], failed: Sequence[CaptureRow], elapsed: float, made_now: int
) -> list[tuple[str, str]]:
    facts = [(str(len(done)), "done"), (str(len(failed)), "failed")]
    if seconds := [row.seconds for row in done if row.seconds is not None]:
        facts.append((f"{median(seconds):.1f} s", "a capture, median"))
    if made_now:
        facts.append((f"{made_now / elapsed * 3600:,.0f}", "captures an hour, in the last run"))
    if errors := [float(error) for row in done if (error := row.figures["mean_mm"]) is not None]:
        facts.append((f"{mean(errors):.3f} mm", "mean distance to the true surfaces"))
    if warned := sum(bool(row.warnings) for row in done):
        facts.append((str(warned), "done with warnings"))
    return facts


def _result(out: Path, row: CaptureRow, columns: Sequence[tuple[str, str, str, float]]) -> dict[str, Any]:
    """A row of the results, as the template names its parts."""
    cells = []
    for _, name, form, factor in columns:
        value = row.figures[name]
        cells.append("–" if value is None else form.format(float(value) * factor))
    cells += [f"{row.seconds:.1f} s", f"{row.peak_mb:,.0f} MB"]
    thumbnail = out / row.id / THUMBNAIL
    return {
        "id": row.id,
        "capture": row.capture,
        "warnings": row.warnings,
        "cells": cells,
        "link": f"{quote(row.id)}/{REPORT}" if (out / row.id / REPORT).is_file() else "",
        "thumbnail": base64_text(thumbnail.read_bytes()) if thumbnail.is_file() else "",
    }
