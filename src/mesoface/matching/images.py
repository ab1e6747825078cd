"""Photos made ready for matching: luminance, at the texels' own scale, without slow shading."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.files.colour import LUMA
from mesoface.geometry.camera import Camera
from mesoface.uvd.photos import resample_photo
from mesoface.uvd.space import UVDSpace


@dataclass(frozen=True, eq=False)
class MatchImage:
    """One photo at one level of the cascade.

    Args:
        pixels: (h, w) float32 luminance minus its local mean, cut to the face.
        camera: of ``pixels``.
    """

    pixels: NDArray[np.float32]
    camera: Camera


def prepare_image(view: View, space: UVDSpace, oversample: float, reach_mm: float) -> MatchImage:
    """Resample a photo so that ``oversample`` of its pixels fall on a texel, and cut it to the face.

    Args:
        view: the photo.
        space: the UVD space of the level.
        oversample: pixels per texel.
        reach_mm: how far from the base the surface is searched; the cut leaves room for it.
    """
    points = space.position[space.valid]
    luminance = view.image @ LUMA
    pixels, camera = resample_photo(luminance, view.camera, points, space.texel_mm, oversample, reach_mm)
    local_mean = cv2.GaussianBlur(pixels, (0, 0), 8 * oversample)
    return MatchImage(pixels - local_mean, camera)
