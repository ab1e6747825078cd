"""The photo that a texture is taken from, as sharp as the texture can use, laid onto the UV square."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.captures.load import read_full_size
from mesoface.geometry.camera import Camera
from mesoface.uvd.photos import pixel_footprint, resample_photo

# Pixels a texel: with fewer, foreshortened texels would lose detail.
_OVERSAMPLE = 1.5


def face_photo(view: View, points: NDArray, texel_mm: float) -> tuple[NDArray[np.float32], Camera]:
    """A view's pixels around the face, no finer than the texture.

    Where the file holds more pixels than the view was loaded with, and the texture can show them, it is
    decoded again; the lens then stays in the camera, so that pixels are interpolated only once.

    Args:
        view: the photo.
        points: (N, 3) the face, mm.
        texel_mm: of the texture.

    Returns:
        (h, w, 3) float32 RGB in [0, 1], not smaller than the face, and the camera of these pixels.

    Raises:
        CaptureError: the file is no longer what it was when it was loaded.
    """
    center = points.mean(0)
    pixels: NDArray = view.image
    camera, brightest = view.camera, 1.0
    footprint = pixel_footprint([view], center)[0]
    if view.full_size is not None and footprint * _OVERSAMPLE > texel_mm:
        full = view.full_size.camera
        camera = Camera(full.K, view.camera.R, view.camera.t, full.width, full.height, full.lens)
        pixels = read_full_size(view.full_size)[0]
        brightest = float(np.iinfo(pixels.dtype).max)
        footprint *= view.camera.K[0, 0] / full.K[0, 0]
    oversample = min(_OVERSAMPLE, texel_mm / footprint)  # never enlarged: look_up interpolates well
    cut, camera = resample_photo(pixels, camera, points, texel_mm, oversample, reach_mm=2.0)
    return cut / np.float32(brightest), camera


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
