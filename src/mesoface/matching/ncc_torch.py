"""The same photo-consistency as :mod:`mesoface.matching.ncc`, written to be read, on any torch device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mesoface.matching.learned.kernels import sample
from mesoface.matching.ncc import NOISE_FLOOR, MatchImage, Pairs, pair_weights, window_size
from mesoface.uvd.space import UVDSpace


def gaussian_window(values: Tensor, sigma: float) -> Tensor:
    """(V, H, W) → (V, H, W) weighted mean over the window, borders replicated."""
    side = window_size(sigma)
    x = torch.arange(side, device=values.device, dtype=values.dtype) - side // 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(values[:, None], (side // 2,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None, :]), kernel[None, None, :, None])[:, 0]


@torch.inference_mode()
def ncc_scores(
    space: UVDSpace,
    images: Sequence[MatchImage],
    visibility: NDArray[np.float32],
    pairs: Pairs,
    steps: NDArray[np.float64],
    sigma: float,
    *,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """See :func:`mesoface.matching.ncc.ncc_scores`; ``device`` is a torch device."""
    position = torch.as_tensor(space.position, dtype=torch.float64, device=device)
    normal = torch.as_tensor(space.normal, dtype=torch.float64, device=device)
    pixels = [torch.as_tensor(image.pixels, device=device) for image in images]
    P = [torch.as_tensor(image.camera.P, dtype=torch.float64, device=device) for image in images]
    weights = torch.as_tensor(pair_weights(visibility, pairs), device=device)  # (K, H, W)
    first, second = (torch.tensor(index, device=device) for index in zip(*pairs, strict=True))
    total = weights.sum(0)

    scores = []
    for d in steps:
        points = position + normal * float(d)  # (H, W, 3)
        sampled = []
        for image, projection in zip(pixels, P, strict=True):
            q = points @ projection[:, :3].T + projection[:, 3]
            sampled.append(sample(image[None], (q[..., :2] / q[..., 2:]).float()[:, :, None]))
        values = torch.cat(sampled)[..., 0]  # (V, H, W)
        mean = gaussian_window(values, sigma)
        variance = (gaussian_window(values**2, sigma) - mean**2).clamp(min=0)
        inverse_std = (variance + NOISE_FLOOR**2).rsqrt()
        product = gaussian_window(values[first] * values[second], sigma)  # (K, H, W)
        correlation = (product - mean[first] * mean[second]) * inverse_std[first] * inverse_std[second]
        weighted = (weights * correlation).sum(0)
        scores.append(torch.where(total > 1e-4, weighted / total.clamp(min=1e-4), 0))
    return torch.stack(scores).cpu().numpy()
