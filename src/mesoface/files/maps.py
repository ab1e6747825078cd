"""Maps in files: 32-bit float EXR for lengths, 8- or 16-bit PNG for pictures, FaceScape's ``dpmap``.

A ``dpmap`` holds displacement (Yang et al., CVPR 2020) in 16 bits: 32768 is none, the range is ±0.914 mm.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.files.images import as_uint8, png, read_header

MAX_PIXELS = 16384 * 16384
"""Largest map that is read or written."""

_CHANNELS = {1: ("Y",), 3: ("R", "G", "B")}
DPMAP_SIZE = 4096
"""Side of a published dpmap, texels."""
FULL_SCALE_MM = 0.914
"""Displacement at the end of a dpmap's range."""
MIDDLE = 32768
"""The 16-bit number for no displacement."""


def write_exr(path: str | os.PathLike[str], values: NDArray[np.floating], *, comment: str = "") -> None:
    """Write a map as 32-bit float EXR, ZIP compressed: nothing is scaled, clipped or gamma corrected.

    Args:
        path: the file.
        values: (H, W), written as luminance ``Y``, or (H, W, 3), written as ``R``, ``G``, ``B``.
        comment: for people: what the numbers are, and their unit.

    Raises:
        ValueError: the array has another shape, or is larger than ``MAX_PIXELS``.
        MesofaceError: the file cannot be written.
    """
    values = np.asarray(values, np.float32)
    planes = values[..., None] if values.ndim == 2 else values
    if planes.ndim != 3 or planes.shape[2] not in _CHANNELS or not 0 < planes[..., 0].size <= MAX_PIXELS:
        raise ValueError(f"a map must be (H, W) or (H, W, 3), got {values.shape}")
    names = _CHANNELS[planes.shape[2]]
    channels = {name: np.ascontiguousarray(planes[..., i]) for i, name in enumerate(names)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if comment:
        header["comments"] = comment
    with atomic_file(Path(path)) as temporary:
        try:
            with OpenEXR.File(header, channels) as file:
                file.write(str(temporary))
        except RuntimeError as error:  # OpenEXR's own error for a full disk, among others
            raise OSError(f"EXR not written ({error})") from error


def read_exr(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read an EXR map with one channel as (H, W), with R, G, B as (H, W, 3) float32.

    Raises:
        MesofaceError: the file is missing, is no EXR, is too large, or has other channels.
    """
    path = Path(path)
    remedy = "give a flat EXR with one channel, or with R, G and B"
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            low, high = file.header()["dataWindow"]
        width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
        if not 0 < width * height <= MAX_PIXELS:
            raise MesofaceError(
                f"an EXR of {width} × {height} pixels", path=path, remedy="give a smaller map"
            )
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
        raise MesofaceError("not an EXR file that can be read", path=path, remedy=remedy) from error
    names = tuple(channels) if len(channels) == 1 else _CHANNELS[3]
    if set(names) != set(channels):
        raise MesofaceError(
            f"an EXR with the channels {', '.join(sorted(channels))}", path=path, remedy=remedy
        )
    planes = [np.asarray(channels[name], np.float32) for name in names]
    return planes[0] if len(planes) == 1 else np.stack(planes, -1)


def write_png(path: str | os.PathLike[str], values: NDArray) -> None:
    """Write a map as PNG.

    Args:
        path: the file.
        values: (H, W) or RGB (H, W, 3), uint8 or uint16; floats in [0, 1] become uint8.

    Raises:
        ValueError: another shape or type.
        MesofaceError: the file cannot be written.
    """
    values = as_uint8(np.nan_to_num(values))
    if values.dtype not in (np.uint8, np.uint16) or (values.ndim != 2 and values.shape[2:] != (3,)):
        raise ValueError(
            f"a PNG map must be uint8, uint16 or float (H, W[, 3]), got {values.dtype} {values.shape}"
        )
    data = png(values)
    with atomic_file(Path(path)) as temporary:
        temporary.write_bytes(data)


def encode_dpmap(displacement: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(H, W) mm → FaceScape's 16 bits; clipped to its range."""
    values = np.rint(displacement.astype(np.float64) / FULL_SCALE_MM * MIDDLE) + MIDDLE
    return np.clip(values, 0, 65535).astype(np.uint16)


def decode_dpmap(values: NDArray[np.uint16]) -> NDArray[np.float64]:
    """(H, W) FaceScape's 16 bits → mm."""
    return (values.astype(np.float64) - MIDDLE) / MIDDLE * FULL_SCALE_MM


def read_dpmap(path: Path) -> NDArray[np.uint16]:
    """A dpmap as published: (4096, 4096) uint16.

    Raises:
        MesofaceError: it cannot be read, or is of another size or pixel type.
    """
    header = read_header(path)
    remedy = "give a dpmap as FaceScape publishes it: a 16-bit grey PNG"
    if header.size != (DPMAP_SIZE, DPMAP_SIZE):
        raise MesofaceError(
            f"is {header.width} × {header.height} pixels, a dpmap has {DPMAP_SIZE} × {DPMAP_SIZE}",
            path=path,
            remedy=remedy,
        )
    values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise MesofaceError("is no image of one 16-bit channel", path=path, remedy=remedy)
    return values
