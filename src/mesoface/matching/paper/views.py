"""A photo and its camera as the published networks were trained to have them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mesoface.captures.capture import View

LONGEST_SIDE = 1296
"""Pixels of the longer side of a photo."""


def network_view(view: View, longest_side: int = LONGEST_SIDE) -> tuple[Tensor, Tensor]:
    """Photo for the feature network, and projection into its features.

    Resized to ``longest_side``; photos in portrait are transposed, and so are the rows of the projection.

    Args:
        view: undistorted.
        longest_side: of the result, pixels.

    Returns:
        image (3, H, W) float32, blue, green, red in 0…255, W ≥ H; projection (3, 4) float64, world → pixels
        of the half-resolution features: feature (x, y) is centred on the pixel (2x, 2y).

    Raises:
        ValueError: the view is not undistorted.
    """
    if view.camera.lens is not None:
        raise ValueError(f"view {view.name} is not undistorted")
    factor = longest_side / max(view.camera.width, view.camera.height)
    camera, pixels = view.camera, view.image
    if factor != 1:
        camera = camera.scaled(factor)
        shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (camera.width, camera.height), interpolation=shrink)
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[::-1])) * 255
    projection = torch.from_numpy(np.diag([0.5, 0.5, 1.0]) @ camera.P)
    if camera.height > camera.width:
        image, projection = image.transpose(1, 2).contiguous(), projection[[1, 0, 2]]
    return image, projection
