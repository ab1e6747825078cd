"""Numbers as colours, and the bar that says which colour is which number."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.float32]

UNKNOWN = (0.62, 0.62, 0.64)
"""Where a scalar is not known (NaN)."""

_COLORMAPS = {
    "turbo": cv2.COLORMAP_TURBO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "magma": cv2.COLORMAP_MAGMA,
    "gray": None,
}


def colorize(values: ArrayLike, limits: tuple[float, float], colormap: str = "turbo") -> NDArray[np.float64]:
    """(...,) numbers to (..., 3) RGB in [0, 1] between ``limits``; NaN becomes grey.

    Raises:
        ValueError: there is no such colour map.
    """
    if colormap not in _COLORMAPS:
        raise ValueError(f"colormap must be one of {', '.join(_COLORMAPS)}, got {colormap!r}")
    values = np.asarray(values, np.float64)
    low, high = limits
    known = np.isfinite(values)
    position = np.clip((np.where(known, values, low) - low) / max(high - low, 1e-12), 0, 1) * 255
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    code = _COLORMAPS[colormap]
    table = np.repeat(ramp, 3, 1) if code is None else cv2.applyColorMap(ramp, code)[:, 0, ::-1]
    below = np.floor(position).astype(np.int64)
    share = (position - below)[..., None]
    rgb = (table[below] * (1 - share) + table[np.minimum(below + 1, 255)] * share) / 255
    rgb[~known] = UNKNOWN
    return rgb


def percentile_limits(values: ArrayLike) -> tuple[float, float]:
    """The 1st and 99th percentile of the finite ``values``; (0, 1) when there are none."""
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(known, [1, 99]))
    return low, (high if high > low else low + 1)


def add_legend(
    picture: Image, limits: tuple[float, float], label: str, *, colormap: str = "turbo", ticks: int = 5
) -> Image:
    """``picture`` (H, W, 3) with a colour bar, its values and ``label`` (plain ASCII) below."""
    width = picture.shape[1]
    text = max(0.35, width / 1100)
    line = round(34 * text)
    margin = max(24, round(width * 0.08))
    strip = np.ones((round(line * 3.6), width, 3), np.float32)
    top, bottom = round(line * 1.4), round(line * 2.1)
    ramp = colorize(np.linspace(*limits, width - 2 * margin), limits, colormap)
    strip[top:bottom, margin : width - margin] = ramp[None]

    def write(words: str, x: float, y: int) -> None:
        (w, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, text, 1)
        origin = (int(np.clip(x - w / 2, 2, width - w - 2)), y)
        cv2.putText(strip, words, origin, cv2.FONT_HERSHEY_SIMPLEX, text, (0.15,) * 3, 1, cv2.LINE_AA)

    write(label, width / 2, line)
    for share in np.linspace(0, 1, ticks):
        write(
            f"{limits[0] + share * (limits[1] - limits[0]):.3g}",
            margin + share * (width - 2 * margin),
            bottom + line,
        )
    return np.concatenate([picture, strip])
