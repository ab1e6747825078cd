"""What the benchmark can run, row by row."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disturb import shift_camera, swap_cameras

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MESOFACE_SHARED", REPOSITORY.parent / "shared"))

SAMPLE = REPOSITORY / "examples" / "sample_capture"
LPS = SHARED / "captures" / "lps"
PHONE = SHARED / "captures" / "phone"


@dataclass(frozen=True)
class Row:
    """One run of ``mesoface reconstruct`` and what it is measured against.

    Args:
        name: as ``--rows`` takes it.
        about: for people.
        capture: folder with the photos.
        options: of the command, beside the capture and ``--out``.
        truth: the true surface, or None: then COLMAP's points are what is known.
        disturb: makes the capture that is really run, in an empty folder, from ``capture``.
    """

    name: str
    about: str
    capture: Path
    options: tuple[str, ...] = ()
    truth: Path | None = None
    disturb: Callable[[Path, Path], None] | None = None

    @property
    def missing(self) -> str | None:
        """Why the row cannot run here, or None."""
        for path in (self.capture, self.truth):
            if path is not None and not path.exists():
                return f"needs {path} (set MESOFACE_SHARED)" if SHARED in path.parents else f"needs {path}"
        if "ict" in self.options and "MESOFACE_ICT" not in os.environ:
            model = SHARED / "ict" / "ict_facekit_mm.npz"
            return None if model.exists() else f"needs {model} (set MESOFACE_SHARED or MESOFACE_ICT)"
        return None


def _lps(name: str, about: str, *options: str, disturb: Callable[[Path, Path], None] | None = None) -> Row:
    # FaceScape's layout does not state the unit; this capture's is the millimetre.
    return Row(name, about, LPS, ("--scale", "1", *options), LPS / "gt.ply", disturb)


ROWS = {
    row.name: row
    for row in (
        Row("sample", "the sample capture", SAMPLE, ("--scale", "1"), SAMPLE / "gt.ply"),
        _lps("lps-10", "head scan, 10 views"),
        _lps("lps-5", "head scan, 5 views", "--views", "5"),
        _lps("lps-3", "head scan, 3 views", "--views", "3"),
        _lps("lps-ict", "head scan, 10 views, ICT model", "--face-model", "ict"),
        _lps("lps-fast", "head scan, preset fast", "--preset", "fast"),
        _lps("lps-best", "head scan, preset best", "--preset", "best"),
        _lps("lps-swapped", "head scan, two cameras swapped", disturb=swap_cameras),
        _lps("lps-shifted", "head scan, one camera 3 px off", disturb=shift_camera),
        Row("phone", "phone photos, COLMAP", PHONE),
    )
}
