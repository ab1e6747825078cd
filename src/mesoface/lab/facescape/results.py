"""Which result belongs to which capture of a prepared folder."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mesoface.errors import MesofaceError
from mesoface.lab.facescape.layout import PreparedFolder
from mesoface.lab.facescape.names import CaptureId
from mesoface.results.cameras import read_cameras

_MAX_BATCH = 256 << 20  # bytes; 7120 captures have 10 MB


@dataclass(frozen=True)
class Results:
    """The results of a split.

    Args:
        runs: folders of ``mesoface reconstruct`` for the captures that have one.
        missing: why the others have none.
    """

    runs: dict[CaptureId, Path]
    missing: dict[CaptureId, str]


def find_results(folder: PreparedFolder, runs: str | Path, wanted: Collection[CaptureId]) -> Results:
    """Look for the results of captures in a folder, by the captures that they themselves name.

    Args:
        folder: the prepared folder.
        runs: what ``mesoface batch`` wrote, or any folder whose subfolders are results.
        wanted: the captures.

    Raises:
        MesofaceError: ``runs`` is no folder, holds no result of these captures, or two of one.
    """
    runs = Path(runs)
    if not runs.is_dir():
        raise MesofaceError("no such folder", path=runs, remedy="name the folder that `mesoface batch` wrote")
    found: dict[CaptureId, Path] = {}
    for record in sorted(runs.glob("*/run.json")):
        if record.parent.name.startswith("."):  # not finished
            continue
        capture = read_cameras(record.parent / "cameras.json").capture
        id = None if capture is None else folder.id_of(capture)
        if id is None or id not in wanted:
            continue
        if id in found:
            raise MesofaceError(
                f"two results of capture {id}: {found[id].name} and {record.parent.name}",
                path=runs,
                remedy="move one of them away",
            )
        found[id] = record.parent
    if not found:
        raise MesofaceError(
            f"holds no result of these {len(wanted)} captures",
            path=runs,
            remedy="reconstruct the split's list first with `mesoface batch`",
        )
    reasons = _failures(folder, runs / "batch.json")
    missing = {id: reasons.get(id, "not reconstructed") for id in wanted if id not in found}
    return Results(found, missing)


def _failures(folder: PreparedFolder, summary: Path) -> dict[CaptureId, str]:
    """Why captures failed, as the summary of a batch has it; nothing where there is no such summary."""
    if not summary.is_file():
        return {}
    remedy = "run `mesoface batch --resume` again, which writes it"
    try:
        if summary.stat().st_size > _MAX_BATCH:
            raise ValueError(f"larger than {_MAX_BATCH >> 20} MB")
        rows = json.loads(summary.read_text(encoding="utf-8"))["captures"]
        failed = [(Path(row["capture"]), str(row["reason"])) for row in rows if row["status"] == "failed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MesofaceError(f"is no summary of a batch ({error})", path=summary, remedy=remedy) from error
    named = ((folder.id_of(capture), reason) for capture, reason in failed)
    return {id: reason for id, reason in named if id is not None}
