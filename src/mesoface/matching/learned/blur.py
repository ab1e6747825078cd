"""A Gaussian blur along a surface or a photo that does not count what lies beyond the edge."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """(H, W, C) blurred along H and W, channel by channel.

    Channels come last because that is how the matcher's volumes lie in memory, and because torch convolves
    them fastest so.
    """
    radius = max(1, round(2.5 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    channels = x.shape[-1]
    images = x.permute(2, 0, 1)[None]
    for shape, padding in (((-1, 1), (radius, 0)), ((1, -1), (0, radius))):
        weight = F.conv2d(torch.ones_like(images[:, :1]), kernel.view(1, 1, *shape), padding=padding)
        each = kernel.view(1, 1, *shape).expand(channels, 1, -1, -1)
        images = F.conv2d(images, each, padding=padding, groups=channels) / weight
    return images[0].permute(1, 2, 0)
