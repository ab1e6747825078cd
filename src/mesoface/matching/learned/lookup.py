"""Where the points of UVD space lie in a photo, and what its features are there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def project(projection: Tensor, position: Tensor, normal: Tensor, steps: Tensor) -> Tensor:
    """Pixels of every (u, v, d).

    Homogeneous pixels are linear in d, so each texel is projected once. In double precision: single would
    round world coordinates to a hundredth of a pixel.

    Args:
        projection: (3, 4) world → pixels.
        position: (H, W, 3) mm.
        normal: (H, W, 3) unit.
        steps: (D,) mm.

    Returns:
        (D, H, W, 2) float32 x, y; far outside of any photo where the point is behind the camera.
    """
    projection = projection.double()
    base = position.double() @ projection[:, :3].T + projection[:, 3]
    along = normal.double() @ projection[:, :3].T
    pixels = base + steps.double()[:, None, None, None] * along
    depth = pixels[..., 2:]
    ahead = depth > 0
    return torch.where(ahead, pixels[..., :2] / torch.where(ahead, depth, 1), -1e6).float()


def sample(features: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear features at pixels; beyond the photo's edge those of the edge.

    Args:
        features: (C, h, w).
        pixels: (D, H, W, 2) x, y; pixel centres at integers.

    Returns:
        (C, D, H, W)
    """
    steps, height, width, _ = pixels.shape
    size = torch.tensor([features.shape[2] - 1, features.shape[1] - 1], dtype=pixels.dtype)
    grid = 2 * pixels / size.to(pixels.device) - 1
    flat = F.grid_sample(
        features[None], grid.view(1, steps * height, width, 2), padding_mode="border", align_corners=True
    )
    return flat[0].unflatten(1, (steps, height))
