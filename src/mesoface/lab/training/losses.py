"""What a matching network is told about its answer for one tile.

The distribution over the displacements is compared with a Gaussian around the truth, as Xiao et al. 2022 do
with their matching cost (there as a mean square error over sampled points; here as a cross-entropy over the
searched displacements, which punishes a second, wrong peak). The displacement itself, and its slope (shading
is what people see), are compared relative to the classical matcher's errors on the same tile: so a sharp and
well lit tile, where a hundredth of a millimetre is worth something, counts as much as a noisy one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mesoface.uvd.visibility import SEEN

# Error, steps, from which on a relative improvement counts, not an absolute one.
_FINE_STEPS = 0.25


@dataclass(frozen=True)
class Target:
    """The truth of a tile, and where it says something.

    Args:
        truth: (H, W) displacement, mm; 0 where it is not known.
        known: (H, W) bool, the truth is known and two views at least see the texel.
        inside: (H, W) bool, of these where the truth is among the searched displacements.
        steps: (D,) displacements searched, mm, evenly spaced.
        texel_mm: distance between texels.
    """

    truth: Tensor
    known: Tensor
    inside: Tensor
    steps: Tensor
    texel_mm: float

    @property
    def step_mm(self) -> Tensor:
        """Distance between the displacements, mm; a scalar."""
        return self.steps[1] - self.steps[0]


def make_target(truth: Tensor, visibility: Tensor, steps: Tensor, texel_mm: float) -> Target:
    """The target of a tile.

    Args:
        truth: (H, W) mm, NaN where it is not known.
        visibility: (V, H, W) in [0, 1].
        steps: (D,) mm.
        texel_mm: distance between texels.
    """
    known = torch.isfinite(truth) & ((visibility > SEEN).sum(0) >= 2)
    truth = torch.where(known, truth, 0)
    inside = known & (truth >= steps[0]) & (truth <= steps[-1])
    return Target(truth, known, inside, steps, texel_mm)


def distribution_loss(scores: Tensor, target: Target, sigma: float) -> Tensor:
    """Cross-entropy between softmax over D of (D, H, W) ``scores`` and a Gaussian around the truth.

    Args:
        scores: (D, H, W); more is likelier.
        target: the truth; texels inside the search range count.
        sigma: standard deviation of the Gaussian, steps.
    """
    off = (target.steps[:, None, None] - target.truth) / (sigma * target.step_mm)
    wanted = torch.softmax(-0.5 * off**2, 0)
    return masked_mean(-(wanted * torch.log_softmax(scores.float(), 0)).sum(0), target.inside)


def displacement_loss(displacement: Tensor, target: Target) -> Tensor:
    """log(1 + e / ¼) of the error e of the (H, W) displacement, in steps.

    An error of a tenth of a step is worth as much effort as one of several steps: the median counts, not only
    the mean.
    """
    error = (displacement - target.truth).abs() / target.step_mm
    return masked_mean(torch.log1p(error / _FINE_STEPS), target.inside)


def slope_loss(displacement: Tensor, target: Target) -> Tensor:
    """Mean absolute difference of the slopes of the (H, W) displacement and the truth, mm per mm."""
    error = (displacement - target.truth) / target.texel_mm
    both_u = target.inside[:, 1:] & target.inside[:, :-1]
    both_v = target.inside[1:] & target.inside[:-1]
    along_u = masked_mean((error[:, 1:] - error[:, :-1]).abs(), both_u)
    along_v = masked_mean((error[1:] - error[:-1]).abs(), both_v)
    return (along_u + along_v) / 2


def relative_loss(own: Tensor, classical: Tensor, floor: float) -> Tensor:
    """A loss as a share of the classical matcher's: below 1 is better than it.

    Args:
        own: loss of the network.
        classical: the same loss of the classical matcher's answer.
        floor: of the same unit, added to it: errors this small are not worth fighting for.
    """
    return own / (classical.detach() + floor)


def confidence_loss(confidence: Tensor, displacement: Tensor, target: Target) -> Tensor:
    """Binary cross-entropy of the (H, W) confidence logit with: less than a step from the truth.

    Also where the truth lies outside of the search range: there the network should say that it does not know.
    """
    right = target.inside & ((displacement.detach() - target.truth).abs() < target.step_mm)
    each = F.binary_cross_entropy_with_logits(confidence.float(), right.float(), reduction="none")
    return masked_mean(each, target.known)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is set; 0, with gradients of 0, where it is set nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
