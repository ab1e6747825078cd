"""Photos made ready for matching: luminance, at the texels' own scale, without slow shading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.camera import Camera
from mesoface.capture import View
from mesoface.uvd.space import UVDSpace

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class MatchImage:
    """One photo at one level of the cascade.

    Args:
        pixels: (h, w) float32 luminance minus its local mean, cut to the face.
        camera: of ``pixels``.
    """

    pixels: NDArray[np.float32]
    camera: Camera


def pixel_footprint(views: Sequence[View], center: NDArray) -> NDArray[np.float64]:
    """(V,) how many mm one pixel of each view spans at ``center`` (3,)."""
    return np.array([view.camera.to_camera(center)[2] / view.camera.K[0, 0] for view in views])


def prepare_image(view: View, space: UVDSpace, oversample: float, reach_mm: float) -> MatchImage:
    """Resample a photo so that ``oversample`` of its pixels fall on a texel, and cut it to the face.

    A photo is never enlarged more than twice; enlarging is worth it because OpenCV's bilinear lookup
    rounds positions to 1/32 pixel.

    Args:
        view: the photo.
        space: the UVD space of the level.
        oversample: pixels per texel.
        reach_mm: how far from the base the surface is searched; the cut leaves room for it.
    """
    points = space.position[space.valid]
    footprint = pixel_footprint([view], points.mean(0))[0]
    factor = min(oversample * footprint / space.texel_mm, 2.0)
    pixels, _ = view.camera.project(points[:: max(1, len(points) // 5000)])
    margin = 16 + (reach_mm + 4 * space.texel_mm) / footprint
    size = np.array([view.camera.width, view.camera.height])
    low = np.clip(np.floor(np.nanmin(pixels, 0) - margin), 0, size - 8).astype(int)
    high = np.clip(np.ceil(np.nanmax(pixels, 0) + margin), low + 8, size).astype(int)
    width, height = high - low
    camera = view.camera.cropped(low[0], low[1], width, height).scaled(factor)
    luminance = view.image[low[1] : high[1], low[0] : high[0]] @ _LUMINANCE
    if factor < 1:
        # An area filter alone leaves some aliasing at factors near one.
        luminance = cv2.GaussianBlur(luminance, (0, 0), 0.35 / factor)
        luminance = cv2.resize(luminance, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    elif factor > 1:
        luminance = cv2.resize(luminance, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    local_mean = cv2.GaussianBlur(luminance, (0, 0), 8 * oversample)
    return MatchImage(luminance - local_mean, camera)
