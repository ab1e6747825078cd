"""FaceScape's ``dpmap`` layout of displacement (Yang et al., CVPR 2020): 16 bits, 32768 = none, ±0.914 mm."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.files.images import read_header

SIZE = 4096
"""Side of a published dpmap, texels."""

FULL_SCALE_MM = 0.914
"""Displacement at the end of the range."""

MIDDLE = 32768
"""The number for no displacement."""


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
    if header.size != (SIZE, SIZE):
        raise MesofaceError(
            f"is {header.width} × {header.height} pixels, a dpmap has {SIZE} × {SIZE}",
            path=path,
            remedy=remedy,
        )
    values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise MesofaceError("is no image of one 16-bit channel", path=path, remedy=remedy)
    return values
