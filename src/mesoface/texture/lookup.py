"""Photos laid onto the UV square, at any resolution, a band of rows at a time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera

Map = NDArray[np.float32]


def pixel_map(position: Map, camera: Camera) -> Map:
    """(S, S, 2) where the points of a position map (S, S, 3) lie in the photo, pixels; far off if nowhere."""
    pixels, _ = camera.project(position)
    return np.nan_to_num(pixels, nan=-1e6).clip(-1e6, 1e6).astype(np.float32)


def enlarge_rows(values: Map, rows: range, size: int) -> Map:
    """Rows of a square map enlarged to ``size``², linearly, texel centres at half-integers.

    Args:
        values: (S, S) or (S, S, C).
        rows: which rows of the enlarged map.
        size: its side.

    Returns:
        (len(rows), size[, C]).
    """
    old = len(values)
    at = np.clip((np.arange(rows.start, rows.stop) + 0.5) * (old / size) - 0.5, 0, old - 1)
    above = np.floor(at).astype(int)
    below = np.minimum(above + 1, old - 1)
    share = (at - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    band = values[above] * (1 - share) + values[below] * share
    return cv2.resize(band, (size, len(rows)), interpolation=cv2.INTER_LINEAR)


def look_up(photo: Map, pixels: Map) -> Map:
    """Colours of a photo (h, w, 3) at (H, W, 2) pixels, bicubic; beyond its edge the edge's."""
    return cv2.remap(photo, pixels, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
