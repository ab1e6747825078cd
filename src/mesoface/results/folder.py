"""The layout of a result folder: its version, its record ``run.json``, and the files that must be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mesoface.errors import MesofaceError

FORMAT = 3
"""Version of the layout. 2 added ``base_fit.npz``; 3 added ``landmarks.npz`` and ``space.npz``."""
REPORT = "report.html"
AGAIN = "run `mesoface reconstruct` again"
"""Remedy for a result that is incomplete or damaged."""

_MAX_RECORD = 16 << 20


def read_record(run: str | Path) -> dict[str, Any]:
    """What ``run.json`` of a result says.

    Raises:
        MesofaceError: ``run`` is no result, its ``run.json`` cannot be read, or another version of mesoface
            with another layout wrote it.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise MesofaceError(
            "is not the result of `mesoface reconstruct` (no run.json)",
            path=run,
            remedy="name a folder that it wrote",
        )
    try:
        if path.stat().st_size > _MAX_RECORD:
            raise ValueError(f"larger than {_MAX_RECORD >> 20} MB")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MesofaceError(f"cannot be read ({error})", path=path, remedy=AGAIN) from error
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise MesofaceError("is not what `mesoface reconstruct` writes", path=path, remedy=AGAIN)
    if record.get("format") != FORMAT:
        writer = record.get("mesoface", "of unknown version")
        raise MesofaceError(
            f"has layout {record.get('format')!r}, of mesoface {writer}; this version reads layout {FORMAT}",
            path=run,
            remedy=f"{AGAIN} with this version, or use that one",
        )
    return record


def required_file(run: str | Path, name: str) -> Path:
    """The file ``name`` of a result.

    Raises:
        MesofaceError: it is missing.
    """
    path = Path(run) / name
    if not path.is_file():
        raise MesofaceError(f"the result is incomplete: {name} is missing", path=run, remedy=AGAIN)
    return path
