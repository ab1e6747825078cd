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
_FRAME = struct.Struct("<II7dI")  # id, rig, pose, count of photos; then 16 bytes a photo
_RIG = struct.Struct(
    "<II"
)  # id, count of sensors; then 8 bytes for the first, 9 and perhaps a pose for others
_COUNT = struct.Struct("<Q")


def check_binary(folder: Path) -> None:
    """See that the model's files are whole; ``rigs.bin`` and ``frames.bin`` are of COLMAP 3.12 and later.

    Raises:
        CaptureError: one is missing, or is shorter or longer than its own counts say.
    """
    walks = {"cameras": _cameras, "images": _images, "points3D": _points, "rigs": _rigs, "frames": _frames}
    for name, walk in walks.items():
        path = folder / f"{name}.bin"
        if not path.is_file():
            if name in ("rigs", "frames"):
                continue
            raise CaptureError("is missing from the COLMAP model", path=path, remedy="export the model again")
        data = path.read_bytes()
        try:
            end = walk(data)
        except (struct.error, ValueError, KeyError, OverflowError):
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


def _rigs(data: bytes) -> int:
    (count,), at = _COUNT.unpack_from(data, 0), _COUNT.size
    for _ in range(count):
        sensors = _RIG.unpack_from(data, at)[1]
        at += _RIG.size + 8 * min(sensors, 1)
        for _ in range(sensors - 1):
            has_pose = data[at + 8 : at + 9]
            if not has_pose:
                raise ValueError
            at += 9 + 56 * (has_pose != b"\0")
    return at


def _frames(data: bytes) -> int:
    (count,), at = _COUNT.unpack_from(data, 0), _COUNT.size
    for _ in range(count):
        at += _FRAME.size + 16 * _FRAME.unpack_from(data, at)[-1]
    return at
