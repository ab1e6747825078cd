"""Numbers as colours, and the legend for them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.files.images import as_uint8

Image = NDArray[np.float32]

UNKNOWN = (0.62, 0.62, 0.64)
"""The colour of an unknown value (NaN)."""

_COLORMAPS = {"turbo": cv2.COLORMAP_TURBO, "viridis": cv2.COLORMAP_VIRIDIS, "magma": cv2.COLORMAP_MAGMA}
# blue, white, red in even steps of lightness: for signed values, with limits symmetric around zero
_BALANCE = np.array([[33, 58, 130], [77, 130, 196], [168, 203, 228], [246, 245, 242], [238, 178, 148],
                     [205, 92, 76], [122, 24, 48]], np.float64)  # fmt: skip


def _table(colormap: str) -> NDArray[np.float64]:
    """(256, 3) RGB in 0 … 255 of a colour map."""
    ramp = np.arange(256, dtype=np.uint8)
    if colormap == "gray":
        return np.repeat(ramp[:, None], 3, 1).astype(np.float64)
    if colormap == "balance":
        stops = np.linspace(0, 255, len(_BALANCE))
        return np.column_stack([np.interp(ramp, stops, channel) for channel in _BALANCE.T])
    if colormap not in _COLORMAPS:
        raise ValueError(f"colormap must be gray, balance, {', '.join(_COLORMAPS)}, got {colormap!r}")
    return cv2.applyColorMap(ramp[:, None], _COLORMAPS[colormap])[:, 0, ::-1].astype(np.float64)


def colorize(values: ArrayLike, limits: tuple[float, float], colormap: str = "turbo") -> NDArray[np.float64]:
    """(...,) numbers to (..., 3) RGB in [0, 1] between ``limits``; NaN becomes grey.

    Colour maps: turbo, viridis, magma, gray; balance (blue, white, red) for signed values.

    Raises:
        ValueError: there is no such colour map.
    """
    values = np.asarray(values, np.float64)
    low, high = limits
    known = np.isfinite(values)
    position = np.clip((np.where(known, values, low) - low) / max(high - low, 1e-12), 0, 1) * 255
    table = _table(colormap)
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
    text = float(np.clip(width / 1100, 0.38, 0.62))
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
        value = limits[0] + share * (limits[1] - limits[0])
        write(f"{value:.3g}", margin + share * (width - 2 * margin), bottom + line)
    return np.concatenate([picture, strip])


def legend_bar(limits: tuple[float, float], label: str, colormap: str = "turbo") -> NDArray[np.uint8]:
    """(h, 420, 3) the legend of :func:`add_legend` alone."""
    return as_uint8(add_legend(np.ones((1, 420, 3), np.float32), limits, label, colormap=colormap)[1:])
