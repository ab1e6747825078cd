"""Pictures as the bytes of image files, and as addresses that hold the picture themselves."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SMALL = (cv2.IMWRITE_PNG_COMPRESSION, 6)
"""Options of a small PNG."""
# A twentieth larger than what is smallest, in a tenth of the time.
FAST = (cv2.IMWRITE_PNG_COMPRESSION, 4, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED)
"""Options of a PNG that is written fast and still small."""


def jpeg(pixels: NDArray[np.uint8], quality: int = 92) -> bytes:
    """(H, W, 3) RGB as a JPEG file."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def png(pixels: NDArray[np.uint8], options: Sequence[int] = ()) -> bytes:
    """(H, W, 3) RGB or (H, W, 4) RGBA as a PNG file; ``options``: OpenCV's, such as :data:`SMALL`."""
    return _encode(".png", pixels, options)


def data_uri(picture: NDArray[np.uint8] | NDArray[np.float32], *, photo: bool = False) -> str:
    """A picture as the address of itself.

    Args:
        picture: (H, W, 3) RGB uint8, or float in [0, 1].
        photo: JPEG instead of PNG: for photographs and shading.

    Raises:
        ValueError: another shape or type.
    """
    values = as_uint8(picture)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"a picture must be (H, W, 3) uint8 or float, got {picture.dtype} {picture.shape}")
    data = jpeg(values, 86) if photo else png(values, FAST)
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64_text(data)}"


def base64_text(data: bytes) -> str:
    """Bytes as base64 in ASCII."""
    return base64.b64encode(data).decode("ascii")


def as_uint8(values: NDArray) -> NDArray[np.uint8]:
    """Floats in [0, 1], clipped, as 0 to 255; other arrays as they are."""
    if values.dtype.kind != "f":
        return values
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _encode(suffix: str, pixels: NDArray[np.uint8], options: Sequence[int]) -> bytes:
    bgr = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(bgr), options)
    if not ok:
        raise ValueError(f"the picture of the shape {pixels.shape} cannot be encoded")
    return data.tobytes()
