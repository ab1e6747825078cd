"""Capture formats: one module each, found by looking at the folder.

To add one, write a module with ``NAME``, ``LOOKS_FOR``, ``detect`` and ``read``, and name it in ``FORMATS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from mesoface.captures.capture import CaptureSource
from mesoface.captures.formats import (
    colmap,
    facescape,
    meshroom,
    metashape,
    nerfstudio,
    opencv,
    openmvg,
    plain,
    realitycapture,
)
from mesoface.captures.formats.files import list_photos
from mesoface.errors import CaptureError


class CaptureFormat(Protocol):
    """What a format's module offers."""

    NAME: str
    """as ``--format`` takes it"""
    LOOKS_FOR: str
    """which files tell it, for people"""

    def detect(self, path: Path) -> bool:
        """Whether the folder ``path`` looks like this format."""
        ...

    def read(self, path: Path) -> CaptureSource:
        """Parse the calibration of the folder ``path``; no photo is decoded.

        Raises:
            CaptureError: the calibration cannot be used; names the file, what was expected and what to do.
        """
        ...


FORMATS = {
    module.NAME: cast(CaptureFormat, module)
    for module in (
        plain,
        facescape,
        colmap,
        nerfstudio,
        metashape,
        realitycapture,
        openmvg,
        meshroom,
        opencv,  # last: its files have no name of their own
    )
}


def read_source(path: str | Path, format: str | None = None) -> CaptureSource:
    """Read a capture's calibration; no photo is decoded.

    Args:
        path: the capture's folder.
        format: a key of :data:`FORMATS`, or None to look at the folder and take the first that
            matches, in that order.

    Raises:
        CaptureError: no folder, no known format, or a calibration that cannot be used.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        remedy = "name the folder; of a video, `mesoface calibrate` makes one"
        raise CaptureError(f"{what}, a capture's folder was expected", path=path, remedy=remedy)
    if format is not None:
        if format not in FORMATS:
            raise CaptureError(
                f"no capture format {format!r}", path=path, remedy=f"there are: {', '.join(FORMATS)}"
            )
        return FORMATS[format].read(path)
    for reader in FORMATS.values():
        if reader.detect(path):
            return reader.read(path)
    looked = "; ".join(f"{name}: {reader.LOOKS_FOR}" for name, reader in FORMATS.items())
    if list_photos(path) or list_photos(path / "images"):
        raise CaptureError(
            f"holds no capture in a known format, only photos without cameras. Looked for {looked}",
            path=path,
            remedy="find their cameras with `mesoface calibrate PHOTOS --out CAPTURE`, or pass --calibrate "
            "to `mesoface reconstruct`; or put the calibration beside them",
        )
    empty = "is an empty folder" if not any(path.iterdir()) else "holds no capture in a known format"
    raise CaptureError(
        f"{empty}. Looked for {looked}", path=path, remedy="name the folder that has one of these"
    )
