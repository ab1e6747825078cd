"""Whether a folder may be written, before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from mesoface.errors import MesofaceError


def check_output_folder(
    out: Path, *, record: str, overwrite: bool, other: str, source: Path | None = None, inside: str = ""
) -> None:
    """Refuse a bad ``--out``.

    Args:
        out: the folder to make.
        record: the file by which an older folder of the same kind is known.
        overwrite: whether that may be replaced.
        other: message about a folder that holds something and has no ``record``.
        source: the folder that is read; ``out`` may not be in it, nor the other way round.
        inside: message about an ``out`` that is.

    Raises:
        MesofaceError: ``out`` is or lies inside of ``source``, exists already, is a file, or cannot be made.
    """
    if source is not None:
        inner, outer = out.resolve(), source.resolve()
        if inner == outer or outer in inner.parents or inner in outer.parents:
            raise MesofaceError(inside, path=out, remedy="name a folder outside of it")
    if out.exists() and not out.is_dir():
        raise MesofaceError("is a file", path=out, remedy="name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise MesofaceError("exists already", path=out, remedy="name another folder, or pass --overwrite")
        if not (out / record).is_file():
            raise MesofaceError(other, path=out, remedy="name another folder")
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        what = "may not be written into" if above.is_dir() else "is a file"
        raise MesofaceError(
            f"the result cannot be put there: {above} {what}", path=out, remedy="name another place"
        )
