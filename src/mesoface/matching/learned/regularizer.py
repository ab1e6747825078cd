"""The learned regularisation: neighbouring texels settle on one surface.

A U-Net over (D, u, v) that is halved along the surface only, down to texels of about ``COARSEST_MM``, with
the same weights at every halving: a finer level goes deeper, so that what it sees of its surroundings stays
the same number of millimetres. Width 16, because narrower convolutions are no faster on a CPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Texel size, mm, from which on the volume is not halved any more.
COARSEST_MM = 2.5
_DEEPEST = 4


def halvings(texel_mm: float) -> int:
    """How often the volume of a level is halved; at least once."""
    return int(min(max(math.ceil(math.log2(COARSEST_MM / texel_mm)), 1), _DEEPEST))


class Regularizer(nn.Module):
    """From the implicit function's volume to the logarithm of a distribution over D.

    Args:
        channels: of the volume.
    """

    def __init__(self, channels: int = 16):
        super().__init__()

        def conv() -> nn.Conv3d:
            return nn.Conv3d(channels, channels, 3, padding=1)

        self.enter, self.leave = conv(), conv()
        self.down, self.across = conv(), conv()
        self.logit = nn.Conv3d(channels, 1, 1)
        self.confidence = nn.Sequential(
            nn.Conv2d(channels + 2, channels, 1), nn.ReLU(), nn.Conv2d(channels, 1, 1)
        )

    def forward(self, volume: Tensor, score: Tensor, texel_mm: float) -> tuple[Tensor, Tensor]:
        """Regularise.

        Args:
            volume: (channels, D, H, W) from the implicit function.
            score: (D, H, W) its matching score; what is learned here is added to it.
            texel_mm: distance between texels.

        Returns:
            logits (D, H, W), and the logit (H, W) of the confidence that the most likely step is right.
        """
        x = volume[None]
        x = x + F.relu(self.enter(x))
        x = x + self._coarser(x, halvings(texel_mm))
        x = x + F.relu(self.leave(x))
        logits = score + self.logit(x)[0, 0]
        log_p = F.log_softmax(logits, 0)
        p = log_p.exp()
        expected = (p * x[0]).sum(1)  # (channels, H, W): the features of the surface itself
        peak = torch.stack([p.amax(0), (p * log_p).sum(0)])
        return logits, self.confidence(torch.cat([expected, peak])[None])[0, 0]

    def _coarser(self, x: Tensor, depth: int) -> Tensor:
        """What the surroundings, at half the resolution and below, have to say."""
        size = x.shape[-2:]
        small = F.avg_pool3d(x, (1, 2, 2), ceil_mode=True, count_include_pad=False)
        small = small + F.relu(self.down(small))
        if depth > 1 and min(size) > 8:
            small = small + self._coarser(small, depth - 1)
        small = F.relu(self.across(small))
        # Bilinear in u and v only; the volume is seen as D · channels images.
        steps = small.shape[2]
        flat = F.interpolate(small.flatten(1, 2), scale_factor=2, mode="bilinear", align_corners=False)
        return flat.unflatten(1, (-1, steps))[..., : size[0], : size[1]]
