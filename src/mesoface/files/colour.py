"""Colours as photos store them (sRGB, IEC 61966-2-1) and as linear light, and how bright they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue as photos store them, gamma-coded (ITU-R BT.601)."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear light in sRGB's primaries (ITU-R BT.709)."""


def encode_srgb(linear: NDArray[Any]) -> NDArray[np.float32]:
    """Linear light, clipped to [0, 1], → sRGB, of any shape."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055).astype(np.float32)


def decode_srgb(color: NDArray[Any]) -> NDArray[Any]:
    """SRGB in [0, 1] → linear light, of any shape, in its own precision."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
