"""A folder with two halves: both results, the figures, and the picture."""

from __future__ import annotations

import json
from pathlib import Path

from mesoface.files.atomic import atomic_folder, check_output_folder
from mesoface.files.maps import write_png
from mesoface.precision.display import halves_picture
from mesoface.precision.halves import Halves
from mesoface.results.write import write_record, write_result
from mesoface.running.progress import ProgressCallback, silent

FIGURES, PICTURE = "halves.json", "halves.png"


def check_halves_folder(out: Path, capture: Path, overwrite: bool) -> None:
    """Refuse a bad ``--out`` before any work is done: see :func:`.atomic.check_output_folder`."""
    check_output_folder(
        out,
        record=FIGURES,
        overwrite=overwrite,
        other=f"--overwrite replaces older halves only, and this folder has no {FIGURES}",
        source=capture,
        inside="the halves would be written into the capture (or over it)",
    )


def write_halves(
    out: str | Path, halves: Halves, *, overwrite: bool = False, progress: ProgressCallback = silent
) -> None:
    """Write ``first`` and ``second`` (results without report and exports), ``halves.json``, ``halves.png``.

    The folder appears when all of it is written, or not at all.

    Args:
        out: folder to make.
        halves: what was measured.
        overwrite: whether older halves may be replaced.
        progress: called as files are written.

    Raises:
        MesofaceError: the folder cannot be written.
    """
    with atomic_folder(out, overwrite=overwrite) as folder:
        for done, (name, face) in enumerate((("first", halves.first), ("second", halves.second))):
            progress("Writing", done, 3)
            (folder / name).mkdir()
            write_result(folder / name, face)
            write_record(folder / name, face)
        progress("Writing", 2, 3)
        write_png(folder / PICTURE, halves_picture(halves))
        (folder / FIGURES).write_text(json.dumps(halves.to_dict(), indent=2) + "\n", encoding="utf-8")
    progress("Writing", 3, 3)
