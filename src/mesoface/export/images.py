"""Textures as the bytes of image files, of a size that viewers and engines take."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_JPEG_QUALITY = 92


def shrink(pixels: NDArray[np.uint8], largest: int) -> NDArray[np.uint8]:
    """(H, W, 3) pixels, scaled down to at most ``largest`` a side."""
    side = max(pixels.shape[:2])
    if side <= largest:
        return pixels
    scale = largest / side
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


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
