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

from mesoface.matching.learned.pointwise import Pointwise

# Texel size, mm, from which on the volume is not halved any more.
COARSEST_MM = 2.5
_DEEPEST = 4
# Torch convolves single volumes whose first dimensions multiply to no more than this ten times as slowly as
# two at once.
_SMALL = 20480


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
        self.enter, self.down, self.across, self.leave = (_Convolution(channels) for _ in range(4))
        self.logit = Pointwise(channels, 1)

    def forward(self, volume: Tensor, score: Tensor, texel_mm: float) -> tuple[Tensor, Tensor]:
        """Regularise.

        Args:
            volume: (channels, H, W, D) from the implicit function.
            score: (H, W, D) its matching score; what is learned here is added to it.
            texel_mm: distance between texels.

        Returns:
            logits (H, W, D), and what the volume says at the surface itself: (channels + 2, H, W), of which
            the last are the highest probability and the entropy.
        """
        depth = halvings(texel_mm)
        height, width = volume.shape[1:3]
        x = _padded(volume, 2**depth).movedim(0, -1).contiguous()[None].movedim(-1, 1)  # channels last
        x = x + F.relu_(self.enter(x))
        x = x + self._coarser(x, depth)
        x = x + F.relu_(self.leave(x))
        x = x[0, :, :height, :width]
        logits = score + self.logit(x)[0]
        log_p = F.log_softmax(logits, -1)
        p = log_p.exp()
        expected = (p * x).sum(-1)  # (channels, H, W): the features of the surface itself
        shape = torch.stack([p.amax(-1), (p * log_p).sum(-1)])
        return logits, torch.cat([expected, shape])

    def _coarser(self, x: Tensor, depth: int) -> Tensor:
        """What the surroundings, at half the resolution and below, have to say."""
        x = (x[:, :, ::2] + x[:, :, 1::2]) / 2
        x = (x[:, :, :, ::2] + x[:, :, :, 1::2]) / 2
        x = x + F.relu_(self.down(x))
        if depth > 1:
            x = x + self._coarser(x, depth - 1)
        x = F.relu_(self.across(x))
        return F.interpolate(x, scale_factor=(2.0, 2.0, 1.0), mode="trilinear", align_corners=False)


def _padded(x: Tensor, multiple: int) -> Tensor:
    """(C, H, W, D) continued at its far edges until H and W are multiples."""
    missing = [-size % multiple for size in x.shape[1:3]]
    return F.pad(x[None], (0, 0, 0, missing[1], 0, missing[0]), mode="replicate")[0] if any(missing) else x


class _Convolution(nn.Conv3d):
    """3 × 3 × 3 over (u, v, d)."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cpu and x.shape[:4].numel() <= _SMALL:
            return super().forward(x.expand(2, *x.shape[1:]))[:1]
        return super().forward(x)
