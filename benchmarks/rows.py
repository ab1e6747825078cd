"""What the benchmark can run, row by row."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from disturb import Disturb, change_photos, halve, jitter_cameras, replace_photo, shift_camera, swap_cameras
from photos import expose, keep, noise, shine, smooth_skin, stranger, upside_down

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MESOFACE_SHARED", REPOSITORY.parent / "shared"))

SAMPLE = REPOSITORY / "examples" / "sample_capture"
LPS = SHARED / "captures" / "lps"
PHONE = SHARED / "captures" / "phone"
LPS_PHONE = SHARED / "captures" / "lps_phone"
DSLR = SHARED / "captures" / "dslr"
# For the commands that are run too, from wherever.
ICT = Path(os.environ.setdefault("MESOFACE_ICT", str(SHARED / "ict" / "ict_facekit_mm.npz")))

GROUPS = {
    "clean": "Photos as they are",
    "degraded": "Photos that suffered",
    "rig": "Cameras or photos that are wrong",
    "phones": "Phone photos",
    "halves": "Disjoint halves of the photos",
}


@dataclass(frozen=True)
class Row:
    """One run of ``mesoface reconstruct``, or ``evaluate --halves``, and what it is measured against.

    Args:
        name: as ``--rows`` takes it.
        group: of ``GROUPS``: the table that it stands in; ``--rows`` takes that too.
        about: for people.
        capture: folder with the photos.
        options: of the command, beside the capture, ``--out`` and ``--matcher``.
        truth: the true surface, or None: then COLMAP's points are what is known, or the other half.
        disturb: makes the capture that is really run, in an empty folder, from ``capture``.
        halves: how the photos are divided, where two results are compared with each other.
        peer: whether the row is also run with :mod:`peers`, against the same truth.
    """

    name: str
    group: str
    about: str
    capture: Path
    options: tuple[str, ...] = ()
    truth: Path | None = None
    disturb: Disturb | None = None
    halves: Literal["interleaved", "consecutive"] | None = None
    peer: bool = False

    @property
    def missing(self) -> str | None:
        """Why the row cannot run here, or None."""
        for path in (self.capture, self.truth):
            if path is not None and not path.exists():
                return f"needs {path} (set MESOFACE_SHARED)" if SHARED in path.parents else f"needs {path}"
        if "ict" in self.options:
            return missing_ict()
        return None


def missing_ict() -> str | None:
    """Why the ICT model cannot be used here, or None."""
    return None if ICT.exists() else f"needs {ICT} (set MESOFACE_SHARED or MESOFACE_ICT)"


def select(wanted: Iterable[str], rows: dict[str, Row]) -> list[Row]:
    """The rows with these names or of these groups, each once.

    Raises:
        KeyError: there is no such row or group; its argument is the name.
    """
    chosen: dict[str, Row] = {}
    for name in wanted:
        found = [row for row in rows.values() if name in (row.name, row.group)]
        if not found:
            raise KeyError(name)
        chosen |= {row.name: row for row in found}
    return list(chosen.values())


_MM = ("--scale", "1")  # FaceScape's layout and OpenCV's do not state the unit: these captures are in mm


def _lps(
    group: str, name: str, about: str, *options: str, disturb: Disturb | None = None, peer: bool = False
) -> Row:
    options, truth = (*_MM, *options), LPS / "gt.ply"
    return Row(f"lps-{name}", group, f"head scan, {about}", LPS, options, truth, disturb, peer=peer)


def _lps_phone(name: str, views: int, *, peer: bool = False) -> Row:
    about, options = f"head scan as a phone sees it, {views} views", (*_MM, "--views", str(views))
    return Row(name, "phones", about, LPS_PHONE, options, LPS_PHONE / "gt.ply", peer=peer)


def _halves(name: str, about: str, capture: Path, *options: str, consecutive: bool = False) -> Row:
    split: Literal["interleaved", "consecutive"] = "consecutive" if consecutive else "interleaved"
    about = f"{about}, {'first and second half' if consecutive else 'every other photo'}"
    return Row(name, "halves", about, capture, options, halves=split)


ROWS = {
    row.name: row
    for row in (
        Row("sample", "clean", "the sample capture", SAMPLE, _MM, SAMPLE / "gt.ply", peer=True),
        _lps("clean", "10", "10 views", peer=True),
        _lps("clean", "5", "5 views", "--views", "5"),
        _lps("clean", "3", "3 views", "--views", "3"),
        _lps("clean", "ict", "10 views, ICT model", "--face-model", "ict"),
        _lps("clean", "fast", "preset fast", "--preset", "fast"),
        _lps("clean", "best", "preset best", "--preset", "best"),
        _lps("degraded", "noise", "noise σ 8/255", disturb=change_photos(noise(8 / 255))),
        _lps("degraded", "jpeg", "JPEG quality 40", disturb=change_photos(keep, jpeg_quality=40)),
        _lps("degraded", "exposure", "exposure ± 40 % per view", disturb=change_photos(expose)),
        _lps("degraded", "half", "half resolution", disturb=halve),
        _lps("degraded", "smooth", "smooth skin", disturb=change_photos(smooth_skin)),
        _lps("degraded", "shine", "strong highlights", disturb=shine("gt.ply")),
        _lps("rig", "jitter-0.5", "all cameras 0.5 px off", disturb=jitter_cameras(0.5)),
        _lps("rig", "jitter-1", "all cameras 1 px off", disturb=jitter_cameras(1.0)),
        _lps("rig", "shifted", "one camera 3 px off", disturb=shift_camera),
        _lps("rig", "swapped", "two cameras swapped", disturb=swap_cameras),
        _lps("rig", "stranger", "one photo of another face", disturb=stranger(SAMPLE / "4.jpg")),
        _lps("rig", "turned", "one photo upside down", disturb=replace_photo(upside_down)),
        _lps_phone("lps-phone", 24, peer=True),
        _lps_phone("lps-phone-10", 10),
        Row("phone", "phones", "phone photos, COLMAP", PHONE),
        _halves("lps-halves", "head scan", LPS, *_MM),
        _halves("phone-halves", "phone photos", PHONE, "--views", "12"),
        _halves("phone-halves-consecutive", "phone photos", PHONE, "--views", "12", consecutive=True),
        _halves("dslr-halves", "rig of ten cameras", DSLR, *_MM),
    )
}
