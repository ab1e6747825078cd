"""Textures as the bytes of image files, of a size that viewers and engines take."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_JPEG_QUALITY = 92


def to_power_of_two(pixels: NDArray[np.uint8], largest: int) -> NDArray[np.uint8]:
    """(S, S, 3) pixels, scaled up to the next power of two a side, or down to ``largest``.

    Engines stream and compress textures of such sizes only.
    """
    side = len(pixels)
    wanted = min(largest, 1 << (side - 1).bit_length())
    if wanted == side:
        return pixels
    how = cv2.INTER_AREA if wanted < side else cv2.INTER_LINEAR
    return cv2.resize(pixels, (wanted, wanted), interpolation=how)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as a JPEG file."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as a PNG file."""
    return _encode(".png", pixels, [])


def _encode(suffix: str, pixels: NDArray[np.uint8], options: list[int]) -> bytes:
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]), options)
    if not ok:
        raise ValueError(f"pixels of the shape {pixels.shape} cannot be an image")
    return data.tobytes()
