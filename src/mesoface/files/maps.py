"""Maps in files: 32-bit float EXR for lengths, 8- or 16-bit PNG for pictures."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file

MAX_PIXELS = 16384 * 16384
"""Largest map that is read or written."""

_CHANNELS = {1: ("Y",), 3: ("R", "G", "B")}


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
    values = np.asarray(values)
    if values.dtype.kind == "f":
        values = np.round(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    if values.dtype not in (np.uint8, np.uint16) or not (
        values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    ):
        raise ValueError(
            f"a PNG map must be uint8, uint16 or float (H, W[, 3]), got {values.dtype} {values.shape}"
        )
    ok, data = cv2.imencode(".png", values if values.ndim == 2 else np.ascontiguousarray(values[..., ::-1]))
    if not ok:
        raise ValueError(f"the map of the shape {values.shape} cannot be a PNG")
    with atomic_file(Path(path)) as temporary:
        temporary.write_bytes(data.tobytes())
