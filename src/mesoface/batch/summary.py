"""The results of a batch as data: ``batch.json`` and ``batch.csv``.

Everything but ``timing`` (and the CSV's last two columns) depends on the captures and the settings alone,
however often the batch was interrupted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mesoface
from mesoface.batch.job import CaptureJob
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file, is_leftover

NAME = "batch.json"
FORMAT = 1
"""Version of the file's layout."""

Figures = dict[str, float | int | str | None]
# column: (where it is in run.json, digits after the point)
_FIGURES: dict[str, tuple[tuple[str, ...], int | None]] = {
    "views": (("capture", "views"), None),
    "landmark_error_px": (("landmark_error_px",), 3),
    "scale_source": (("scale", "source"), None),
    "measured": (("surface", "left_out"), 5),
    "texel_mm": (("surface", "texel_mm"), None),
    "vertices": (("surface", "vertices"), None),
    "mean_mm": (("evaluation", "accuracy", "mean"), 4),
    "median_mm": (("evaluation", "accuracy", "median"), 4),
    "p90_mm": (("evaluation", "accuracy", "p90"), 4),
    "within_0.2_mm": (("evaluation", "accuracy", "within", "0.2"), 4),
    "normals_deg": (("evaluation", "accuracy", "normal_angle"), 3),
    "completeness_mm": (("evaluation", "completeness", "mean"), 4),
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
            "status": "failed" if row.error is not None else "done",
            "reason": row.error,
            "figures": row.figures,
            "warnings": list(row.warnings),
            "timing": {"seconds": row.seconds, "peak_mb": row.peak_mb},
        }
        for row in rows
    ]
    failed = sum(row["status"] == "failed" for row in listed)
    content = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "made_from": dict(recipe),
        "complete": len(listed) == total,
        "counts": {"captures": total, "done": len(listed) - failed, "failed": failed},
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
            status = "done" if row.error is None else "failed"
            figures = [row.figures[name] for name in _FIGURES]
            reason = row.error or ""
            table.writerow(
                [row.id, row.capture, status, reason, len(row.warnings), *figures, row.seconds, row.peak_mb]
            )


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
        MesofaceError: it holds other things, or a batch's results and ``resume`` was not said.
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
    keys, digits = _FIGURES[name]
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if name == "views":
        return len(value)
    if value is not None and name == "measured":
        value = 1 - value
    return value if value is None or digits is None else round(float(value), digits)
