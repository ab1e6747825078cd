"""The photo that a texture is taken from: cut to the face, as sharp as the texture can use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.captures.load import decode_full_size
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
        pixels = decode_full_size(view.full_size)
        brightest = float(np.iinfo(pixels.dtype).max)
        footprint *= view.camera.K[0, 0] / full.K[0, 0]
    oversample = min(_OVERSAMPLE, texel_mm / footprint)  # never enlarged: look_up interpolates well
    cut, camera = resample_photo(pixels, camera, points, texel_mm, oversample, reach_mm=2.0)
    return cut / np.float32(brightest), camera
