"""Where the points of UVD space lie in a photo, and what its features are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mesoface.matching.learned.aggregation import Agreement, agreement


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
        (H, W, D, 2) float32 x, y; far outside of any photo where the point is behind the camera.
    """
    projection = projection.double()
    base = position.double() @ projection[:, :3].T + projection[:, 3]
    along = normal.double() @ projection[:, :3].T
    pixels = base[:, :, None] + steps.double()[:, None] * along[:, :, None]
    depth = pixels[..., 2:]
    ahead = depth > 0
    return torch.where(ahead, pixels[..., :2] / torch.where(ahead, depth, 1), -1e6).float()


def sample(features: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear features at pixels; beyond the photo's edge those of the edge.

    Args:
        features: (C, h, w).
        pixels: (H, W, D, 2) x, y; pixel centres at integers.

    Returns:
        (C, H, W, D)
    """
    height, width, steps, _ = pixels.shape
    size = torch.tensor([features.shape[2] - 1, features.shape[1] - 1], dtype=pixels.dtype)
    grid = 2 * pixels / size.to(pixels.device) - 1
    flat = F.grid_sample(
        features[None], grid.view(1, height, width * steps, 2), padding_mode="border", align_corners=True
    )
    return flat[0].unflatten(2, (width, steps))


def agreement_in_photos(
    features: Sequence[Tensor],
    projections: Tensor,
    position: Tensor,
    normal: Tensor,
    visibility: Tensor,
    steps: Tensor,
    groups: int,
) -> Agreement:
    """How well the photos agree at every (u, v, d). On the CPU :mod:`fast` does the same, much faster.

    Args:
        features: V × (C, h, w): descriptor, reliability, contrast.
        projections: (V, 3, 4) world → pixels.
        position: (H, W, 3) mm.
        normal: (H, W, 3) unit.
        visibility: (V, H, W); a view counts by it and by the reliability of what it shows.
        steps: (D,) mm.
        groups: of the descriptor.

    Returns:
        of G = groups + 1 groups, the last of which is the contrast.
    """

    def seen() -> Iterable[tuple[Tensor, Tensor]]:
        for photo, projection, visible in zip(features, projections, visibility, strict=True):
            sampled = sample(photo, project(projection, position, normal, steps))
            descriptor = sampled[:-2].unflatten(0, (groups, -1))
            # The contrast is one more group in the same width: its other channels are empty.
            empty = torch.zeros_like(descriptor[:1, 1:])
            contrast = torch.cat([sampled[None, -1:], empty], 1)
            yield torch.cat([descriptor, contrast]), visible[..., None] * sampled[-2]

    return agreement(seen())
