"""The last step, on the surface itself: how far to follow correlation, what to add, how sure it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.matching.learned.opinion import Opinion

# Disagreements, steps, that are told apart no further.
_FAR = 4.0


class Refinement(nn.Module):
    """Three 3 × 3 convolutions over (u, v), the second one dilated.

    A distribution over steps is coarse beside what is to be measured, and where photos are sharp a parabola
    through a correlation is hard to beat; here neighbours speak of one surface and both answers are weighed.
    After the refinement of StereoNet (Khamis et al. 2018), with what the volume says at the surface in place
    of the photo.

    Args:
        surface: channels that the regulariser passes on.
        hidden: channels between the convolutions.
    """

    def __init__(self, surface: int = 18, hidden: int = 24):
        super().__init__()
        self.first = nn.Conv2d(surface + 5, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2)
        self.third = nn.Conv2d(hidden, 3, 3, padding=1)

    def forward(
        self, surface: Tensor, displacement: Tensor, opinion: Opinion, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine.

        Args:
            surface: (C, H, W) from the regulariser.
            displacement: (H, W) mm, read off its distribution.
            opinion: of the classical matcher.
            step: mm, a scalar.

        Returns:
            displacement (H, W) mm, and the logit (H, W) of the probability that it is less than a step off.
        """
        classical, peak = (
            ((other - displacement) / step).clamp(-_FAR, _FAR)
            for other in (opinion.displacement, opinion.peak)
        )
        about = torch.stack([displacement / step, classical, opinion.weight, peak, opinion.trust])
        surface = surface * torch.rsqrt(surface.square().mean(0) + 1)  # its strength says nothing new
        x = torch.cat([surface, about])[None].contiguous(memory_format=torch.channels_last)
        x = F.relu_(self.first(x))
        x = x + F.relu_(self.second(x))
        share, correction, confidence = self.third(x)[0]
        return displacement + step * (torch.sigmoid(share) * classical + correction), confidence
