"""Capture formats: one module each recognises its folders, reads them and writes them.

To add one, write a module that follows :class:`CaptureFormat` and, where it is also written,
:class:`CaptureWriter`, and add its name to ``_NAMES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.files import list_photos
from mesoface.errors import CaptureError

_NAMES = (  # in the order in which a folder is tested
    "plain",
    "facescape",
    "colmap",
    "nerfstudio",
    "metashape",
    "realitycapture",
    "openmvg",
    "meshroom",
    "opencv_rig",
    "opencv",  # last: its files have no name of their own
)


class CaptureFormat(Protocol):
    """The interface of a format's module."""

    NAME: str
    """the module's name, a choice of ``--format``"""
    LOOKS_FOR: str
    """the files that identify the format, for messages"""

    def detect(self, path: Path) -> bool:
        """Whether the folder ``path`` appears to have this format."""
        ...

    def read(self, path: Path) -> CaptureSource:
        """Parse the calibration of the folder ``path``; no photo is decoded.

        Raises:
            CaptureError: the calibration cannot be used; names the file, what was expected and what to do.
        """
        ...


class CaptureWriter(Protocol):
    """The part of a format's module that writes."""

    PHOTO: str
    """the path of a photo in the folder: with ``{stem}`` or ``{index}``, and ``{suffix}``"""
    MASK: str | None
    """the path of a mask: as above, and ``{photo}`` for the photo's name; None: the format has no masks"""
    STATES_UNIT: bool
    """whether the files state the millimetres per world unit"""

    def write(self, folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> object:
        """Write the calibration of ``views``, whose photos are in their places in ``folder``.

        What the format cannot represent is refused, never approximated.

        Raises:
            Unsupported: the format cannot represent one of the cameras, see :mod:`.lenses`.
        """
        ...


FORMATS = {name: cast(CaptureFormat, import_module(f"{__name__}.{name}")) for name in _NAMES}
WRITERS = {name: cast(CaptureWriter, module) for name, module in FORMATS.items() if hasattr(module, "write")}
"""{format: its writer}; so far, every format that is read is written, too."""


def read_source(path: str | Path, format: str | None = None) -> CaptureSource:
    """Read a capture's calibration; no photo is decoded.

    Args:
        path: the capture's folder.
        format: a key of :data:`FORMATS`, or None for the first that recognises the folder.

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
            remedy = f"there are: {', '.join(FORMATS)}"
            raise CaptureError(f"no capture format {format!r}", path=path, remedy=remedy)
        return FORMATS[format].read(path)
    for reader in FORMATS.values():
        if reader.detect(path):
            return reader.read(path)
    looked = "; ".join(f"{name}: {reader.LOOKS_FOR}" for name, reader in FORMATS.items())
    what, remedy = "holds no capture in a known format", "name the folder that has one of these"
    if list_photos(path) or list_photos(path / "images"):
        what = "holds no capture in a known format, only photos without cameras"
        remedy = (
            "find their cameras with `mesoface calibrate PHOTOS --out CAPTURE`, or pass --calibrate to "
            "`mesoface reconstruct`; or put the calibration beside them"
        )
    elif not any(path.iterdir()):
        what = "is an empty folder"
    raise CaptureError(f"{what}. Looked for {looked}", path=path, remedy=remedy)
