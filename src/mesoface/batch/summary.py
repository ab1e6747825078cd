"""The results of a batch: ``batch.json``, ``batch.csv``, and ``batch.html`` with a thumbnail of each result.

Everything in the first two but ``timing`` (and the CSV's last two columns) depends on the captures and the
settings alone, however often the batch was interrupted.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.batch.job import CaptureJob
from mesoface.captures.capture import View
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file, is_leftover
from mesoface.files.images import as_uint8, base64_text, jpeg
from mesoface.rendering.clay import reduce_surface
from mesoface.rendering.page import render
from mesoface.report.pictures import face_views
from mesoface.results.face import Face
from mesoface.results.files import REPORT

NAME = "batch.json"
FORMAT = 1
"""Version of the file's layout."""

THUMBNAIL = "thumbnail.jpg"
_WIDTH, _HEIGHT = 132, 168  # of each half of a thumbnail
_MARGIN = 0.2  # around the landmarks, of their extent
_QUALITY = 82
_GRID = 192  # side of the grid that the surface is drawn on: more than the picture's pixels

Figures = dict[str, float | int | str | None]


class _Figure(NamedTuple):
    """A figure of a result: one column of the CSV and, where it has a heading, of the page."""

    place: str  # in run.json, from key to key
    digits: int | None = None  # kept after the point
    heading: str = ""
    shown: str = ""


_FIGURES = {
    "views": _Figure("capture/views", None, "views", "{:.0f}"),
    "landmark_error_px": _Figure("landmark_error_px", 3, "landmarks, px", "{:.2f}"),
    "scale_source": _Figure("scale/source"),
    "measured": _Figure("surface/left_out", 5, "measured", "{:.1%}"),
    "texel_mm": _Figure("surface/texel_mm", None, "texel, mm", "{:.2f}"),
    "vertices": _Figure("surface/vertices"),
    "mean_mm": _Figure("evaluation/accuracy/mean", 4, "error, mm", "{:.3f}"),
    "median_mm": _Figure("evaluation/accuracy/median", 4),
    "p90_mm": _Figure("evaluation/accuracy/p90", 4),
    "within_0.2_mm": _Figure("evaluation/accuracy/within/0.2", 4),
    "normals_deg": _Figure("evaluation/accuracy/normal_angle", 3, "normals", "{:.1f}°"),
    "completeness_mm": _Figure("evaluation/completeness/mean", 4),
}


@dataclass(frozen=True)
class CaptureRow:
    """The outcome of one capture.

    Args:
        id: its name in the batch.
        capture: its folder.
        error: why there is no result, or None.
        figures: of the result, by the names of the CSV's columns; None where one is not known.
        warnings: of the result.
        seconds: time that the result took; None without one.
        peak_mb: peak memory; None without a result.
    """

    id: str
    capture: Path
    error: str | None
    figures: Figures
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    peak_mb: float | None = None

    @property
    def status(self) -> str:
        """``done`` or ``failed``."""
        return "done" if self.error is None else "failed"


def failed_row(job: CaptureJob, error: str) -> CaptureRow:
    """The outcome of a capture without a result, for the reason ``error``."""
    return CaptureRow(job.id, job.capture, error, dict.fromkeys(_FIGURES))


def done_row(job: CaptureJob, record: Mapping[str, Any]) -> CaptureRow:
    """The outcome of a capture, from its result's ``run.json``."""
    figures = {name: _figure(record, name) for name in _FIGURES}
    warnings = tuple(record.get("warnings", ()))
    return CaptureRow(job.id, job.capture, None, figures, warnings, record["seconds"], record["peak_mb"])


def write_json(
    out: Path,
    rows: Iterable[CaptureRow],
    *,
    total: int,
    recipe: Mapping[str, Any],
    timing: Mapping[str, float | int | str],
) -> None:
    """Write ``batch.json``.

    Args:
        out: the batch's folder.
        rows: of the finished captures; the file is marked as incomplete when some are missing.
        total: how many captures the batch has.
        recipe: see :func:`mesoface.batch.provenance.recipe_of`.
        timing: of this run of the batch.

    Raises:
        MesofaceError: it cannot be written.
    """
    listed = [
        {
            "id": row.id,
            "capture": str(row.capture),
            "status": row.status,
            "reason": row.error,
            "figures": row.figures,
            "warnings": list(row.warnings),
            "timing": {"seconds": row.seconds, "peak_mb": row.peak_mb},
        }
        for row in rows
    ]
    count = Counter(row["status"] for row in listed)
    content = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "made_from": dict(recipe),
        "complete": len(listed) == total,
        "counts": {"captures": total, "done": count["done"], "failed": count["failed"]},
        "captures": listed,
        "timing": dict(timing),
    }
    with atomic_file(out / NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[CaptureRow]) -> None:
    """Write ``batch.csv``: one line per capture, with empty cells where nothing is known.

    Raises:
        MesofaceError: it cannot be written.
    """
    head = ["id", "capture", "status", "reason", "warnings", *_FIGURES, "seconds", "peak_mb"]
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        for row in rows:
            about = (row.id, row.capture, row.status, row.error or "", len(row.warnings))
            table.writerow([*about, *(row.figures[name] for name in _FIGURES), row.seconds, row.peak_mb])


def is_batch(folder: Path) -> bool:
    """Whether a batch has written into ``folder``."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "captures" in content


def check_folder(out: Path, jobs: Sequence[CaptureJob], *, resume: bool) -> None:
    """Refuse a folder that a batch may not write into.

    Raises:
        MesofaceError: it holds other things, or a batch's results and ``resume`` is not set.
    """
    entries = [entry for entry in out.iterdir() if not is_leftover(entry)] if out.is_dir() else []
    if entries and not is_batch(out):
        raise MesofaceError("this folder holds other things than a batch", path=out, remedy="name another")
    if entries and not resume:
        raise MesofaceError(
            "holds a batch already", path=out, remedy="pass --resume to go on, or name another folder"
        )
    for job in jobs:
        if job.result.exists() and not (job.result / "run.json").is_file():
            raise MesofaceError(
                f"{job.id} in it is no result, and a result would replace it",
                path=out,
                remedy="move it away, or name another folder",
            )


def _figure(record: Mapping[str, Any], name: str) -> float | int | str | None:
    """The figure ``name`` of a result's ``run.json``, None where it is not known."""
    place, digits, *_ = _FIGURES[name]
    value: Any = record
    for key in place.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    if name == "views":
        return len(value)
    if value is not None and name == "measured":
        value = 1 - value
    return value if value is None or digits is None else round(float(value), digits)


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
    columns = {
        name: figure
        for name, figure in _FIGURES.items()
        if figure.heading and any(row.figures[name] is not None for row in done)
    }
    left = total - len(rows)
    text = render(
        Path(__file__).parent / "templates" / "batch.html",
        title=f"{out.resolve().name}: batch",
        name=out.resolve().name,
        remark=f"A batch of {total} captures.",
        notes=[f"Stopped before its end: {left} captures were not tried."] if left else [],
        facts=_facts(done, failed, elapsed, made_now),
        failed=[(row.id, row.capture, row.error) for row in failed],
        headings=[*(figure.heading for figure in columns.values()), "time", "memory"],
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


def _result(out: Path, row: CaptureRow, columns: Mapping[str, _Figure]) -> dict[str, Any]:
    """A row of the results, as the template names its parts."""
    cells = []
    for name, figure in columns.items():
        value = row.figures[name]
        cells.append("–" if value is None else figure.shown.format(value).replace("%", " %"))
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


def write_thumbnail(path: Path, face: Face) -> None:
    """Write the picture of ``face``, some 8 kB of JPEG.

    Raises:
        OSError: it cannot be written.
    """
    surface, relief = face.base, None
    if face.fine is not None:
        reduced = reduce_surface(face.fine, _GRID)
        surface, relief = reduced.mesh, reduced.relief
    [(_, clay)] = face_views(face, surface, relief, ["front"], (_WIDTH, _HEIGHT))
    forward = face.fit.rotation[:, 2]
    frontal = int(np.argmin([camera.forward @ forward for camera in face.capture.cameras]))
    photo = _around(face.capture.views[frontal], face.landmarks2d.points[frontal])
    path.write_bytes(jpeg(np.concatenate([photo, clay], axis=1), _QUALITY))


def _around(view: View, points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W, 3) the part of a photo around landmarks (L, 2), with grey where there is no photo."""
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    scale = min(np.array([_WIDTH, _HEIGHT]) / np.maximum((high - low) * (1 + 2 * _MARGIN), 1))
    shift = np.array([_WIDTH - 1, _HEIGHT - 1]) / 2 - scale * (low + high) / 2
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    # Blurred first: warping alone samples single pixels of a larger photo.
    smooth = cv2.GaussianBlur(view.image, (0, 0), max(0.4 / scale, 0.01)) if scale < 1 else view.image
    crop = cv2.warpAffine(
        smooth, move, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR, borderValue=(0.5, 0.5, 0.5)
    )
    return as_uint8(crop)
