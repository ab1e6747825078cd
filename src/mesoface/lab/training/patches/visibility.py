"""Which camera is believed to see which texel of a patch, as the cascade believes it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.lab.training.patches.surface import MARGIN
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import cast_visibility

# The cascade casts some 192² rays over a whole face, whatever its level.
_RAY_MM = 1.1


def believed_visibility(around: UVDSpace, cameras: Sequence[Camera]) -> NDArray[np.float32]:
    """Ray cast visibility of the middle of a space.

    Args:
        around: (H, H) texels: the patch and :data:`~mesoface.lab.training.patches.surface.MARGIN` around it,
            which may hide parts of it.
        cameras: V cameras whose photos show the patch.

    Returns:
        (V, T, T) float32 in [0, 1] for the T × T texels of the patch.
    """
    rays = int(np.clip(np.ceil(around.size * around.texel_mm / _RAY_MM), 8, around.size))
    visibility = cast_visibility(around.resized(rays), [_uncut(camera) for camera in cameras])
    inner = slice(MARGIN, around.size - MARGIN)
    whole = (around.size, around.size)
    return np.stack([cv2.resize(v, whole, interpolation=cv2.INTER_LINEAR)[inner, inner] for v in visibility])


def _uncut(camera: Camera) -> View:
    """An empty photo that goes on beyond the cut: the cascade has the whole photo."""
    width, height = camera.width, camera.height
    whole = camera.cropped(-width, -height, 3 * width, 3 * height)
    return View("", np.broadcast_to(np.float32(0), (whole.height, whole.width, 3)), whole)
