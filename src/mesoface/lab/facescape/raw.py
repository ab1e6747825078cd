"""FaceScape's multi-view captures as they are unpacked: which there are, and where their scans are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mesoface.errors import MesofaceError
from mesoface.lab.facescape.names import EXPRESSIONS, CaptureId

_PERSON = re.compile(r"\d{1,4}")
_EXPRESSION = re.compile(r"(\d{1,2})_[a-z_]+")  # 1_neutral
_PREPARED = re.compile(r"\d{2}")  # 01, as in the layout of Xiao et al.
_PHOTOS = ("imgs", "images")


@dataclass(frozen=True)
class RawCapture:
    """A capture as it is published.

    Args:
        id: which one.
        folder: photos and ``params.json``.
        scan: the mesh of the true surface, in the world of ``params.json``; None where there is none.
    """

    id: CaptureId
    folder: Path
    scan: Path | None


def find_raw_captures(root: str | Path) -> dict[CaptureId, RawCapture]:
    """All captures in a folder, sorted.

    Three layouts are known: ``<person>/<n_expression>/`` with ``<person>/<n_expression>.ply``; the same below
    ``imgs`` with the scans below ``mesh``; and that of a prepared folder, ``images/001/01/``.

    Raises:
        MesofaceError: ``root`` holds none, or one twice.
    """
    root, found = Path(root), dict[CaptureId, RawCapture]()
    for folder in (root, *(root / name for name in _PHOTOS)):
        for capture in _captures_in(folder, root):
            if (before := found.setdefault(capture.id, capture)) != capture:
                raise MesofaceError(
                    f"capture {capture.id} is there twice: {before.folder} and {capture.folder}",
                    path=root,
                    remedy="remove or move one of them",
                )
    if not found:
        raise MesofaceError(
            "no capture of FaceScape here: folders such as 1/1_neutral, with params.json, were expected",
            path=root,
            remedy="name the folder that the images were unpacked into, see docs/facescape.md",
        )
    return dict(sorted(found.items()))


def _captures_in(folder: Path, root: Path) -> Iterator[RawCapture]:
    """Captures of the people whose folders are in ``folder``."""
    if not folder.is_dir():
        return
    for person in folder.iterdir():
        if not (_PERSON.fullmatch(person.name) and person.is_dir() and int(person.name)):
            continue
        for capture in person.iterdir():
            number = _expression_number(capture.name)
            if number is not None and capture.is_dir():
                id = CaptureId(int(person.name), number)
                yield RawCapture(id, capture, _scan_of(id, capture, root))


def _expression_number(name: str) -> int | None:
    match = _EXPRESSION.fullmatch(name)
    text = match[1] if match else name if _PREPARED.fullmatch(name) else "0"
    return int(text) if 1 <= int(text) <= len(EXPRESSIONS) else None


def _scan_of(id: CaptureId, folder: Path, root: Path) -> Path | None:
    """The scan beside a capture's folder, or below ``mesh``."""
    places = (
        folder.parent / f"{folder.name}.ply",
        root / "mesh" / str(id.person) / f"{id.expression_name}.ply",
    )
    return next((place for place in places if place.is_file()), None)
