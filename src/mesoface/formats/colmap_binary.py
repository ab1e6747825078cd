"""A look through COLMAP's binary files before pycolmap reads them.

pycolmap trusts the counts in them: a cut file is read as far as it goes, or memory is asked for by the
garbage that follows. The layout is the one in COLMAP's documentation, "Output Format".
"""

from __future__ import annotations

import struct
from pathlib import Path

import pycolmap

from mesoface.errors import CaptureError

_CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then 8 bytes a parameter
_IMAGE = struct.Struct(
    "<I7dI"
)  # id, pose, camera; then the name up to a zero byte, then a count of 2D points
_POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, track length; then 8 bytes an observation
_COUNT = struct.Struct("<Q")


def check_binary(folder: Path) -> None:
    """See that ``cameras.bin``, ``images.bin`` and ``points3D.bin`` are whole.

    Raises:
        CaptureError: one is missing, or is shorter or longer than its own counts say.
    """
    for name, walk in (("cameras.bin", _cameras), ("images.bin", _images), ("points3D.bin", _points)):
        path = folder / name
        if not path.is_file():
            raise CaptureError("is missing from the COLMAP model", path=path, remedy="export the model again")
        data = path.read_bytes()
        try:
            end = walk(data)
        except (struct.error, ValueError, KeyError):
            end = -1
        if end != len(data):
            raise CaptureError(
                "is truncated or corrupt: its length is not what its counts say",
                path=path,
                remedy="copy it again, or export the model again from COLMAP",
            )


def _cameras(data: bytes) -> int:
    (count,), at = _COUNT.unpack_from(data, 0), _COUNT.size
    for _ in range(count):
        model = _CAMERA.unpack_from(data, at)[1]
        at += _CAMERA.size + 8 * _parameter_count(model)
        if at > len(data):
            raise ValueError
    return at


def _parameter_count(model: int) -> int:
    kind = pycolmap.CameraModelId(model)
    return len(pycolmap.Camera.create_from_model_id(1, kind, 1.0, 1, 1).params)


def _images(data: bytes) -> int:
    (count,), at = _COUNT.unpack_from(data, 0), _COUNT.size
    for _ in range(count):
        _IMAGE.unpack_from(data, at)
        at = data.index(b"\0", at + _IMAGE.size) + 1
        at += _COUNT.size + 24 * _COUNT.unpack_from(data, at)[0]
    return at


def _points(data: bytes) -> int:
    (count,), at = _COUNT.unpack_from(data, 0), _COUNT.size
    size = _POINT.size
    for _ in range(count):
        at += size + 8 * _COUNT.unpack_from(data, at + size - 8)[0]
    return at
