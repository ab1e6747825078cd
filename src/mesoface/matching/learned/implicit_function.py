"""The implicit function: F(V(p), d(p)), the matching cost of a point from what the views show there.

After Xiao et al. 2022, section 3.2: a perceptron on the aggregated features of one point and on its
displacement. Ours is much smaller, is told the level too, and sees what correlation makes of the same photos:
its score is that of the classical matcher and what was learned to add to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mesoface.matching.learned.aggregation import Agreement
from mesoface.matching.learned.blur import gaussian_blur
from mesoface.matching.learned.opinion import Opinion, closeness
from mesoface.matching.learned.pointwise import Pointwise

# Standard deviations of the windows of the correlation of all views, texels.
WINDOWS = (1.0, 2.5)
# Rows of UV worked on at a time: what lies between the layers then stays in the cache.
_ROWS = 4


def describe_points(agreed: Agreement, opinion: Opinion, steps: Tensor, texel_mm: float) -> Tensor:
    """V(p) and d(p): everything that the implicit function is told about each (u, v, d).

    Args:
        agreed: how well the views agree there; the last of its G + 1 groups is the contrast.
        opinion: of the classical matcher.
        steps: (D,) mm.
        texel_mm: distance between texels.

    Returns:
        (2 · G + 2 + 10, H, W, D)
    """
    coherence, energy, weight, paired = agreed
    product, power = coherence[-1], energy[-1]
    correlation = [gaussian_blur(product, sigma) / (gaussian_blur(power, sigma) + 0.05) for sigma in WINDOWS]
    step = float(steps[1] - steps[0])
    d = (steps.to(product.dtype) / (8 * step)).expand_as(product)
    level = torch.log2(torch.tensor([2 * texel_mm, 4 * step / texel_mm], dtype=product.dtype)) / 2
    about = [weight.clamp(max=4) / 4, paired, power.clamp(max=4) / 4, d]
    about += [number.to(product.device).expand_as(product) for number in level]
    off = opinion.distance(steps)
    classical = [opinion.scores.movedim(0, -1), torch.exp(closeness(off)), (off / 4).clamp(-1, 1)]
    classical.append(opinion.weight[..., None].expand_as(product))
    return torch.cat([coherence[:-1], energy[:-1], torch.stack(correlation + about + classical)])


class ImplicitFunction(nn.Module):
    """A perceptron at every point.

    Args:
        groups: of the descriptor.
        hidden: width of the hidden layer.
        channels: of what it passes on to the regulariser.
    """

    def __init__(self, groups: int = 4, hidden: int = 32, channels: int = 16):
        super().__init__()
        self.hidden = Pointwise(2 * groups + len(WINDOWS) + 10, hidden)
        self.out = Pointwise(hidden, channels)
        self.cost = Pointwise(channels, 1)
        self.classical = nn.Parameter(torch.zeros(2))

    def forward(self, points: Tensor, opinion: Opinion, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The matching cost as a score: higher is better.

        Args:
            points: (F, H, W, D) from :func:`describe_points`.
            opinion: of the classical matcher; what is learned here is added to it.
            steps: (D,) mm.

        Returns:
            score (H, W, D), and the (channels, H, W, D) that the learned part of it is a linear function
            of, the channels last in memory.
        """
        x = torch.cat([self._describe(rows).movedim(0, -1) for rows in points.split(_ROWS, 1)])
        x = x.movedim(-1, 0)
        correlation, near = self.classical
        known = correlation * opinion.scores.movedim(0, -1) + near * closeness(opinion.distance(steps))
        return self.cost(x)[0] + known, x

    def _describe(self, points: Tensor) -> Tensor:
        return torch.relu_(self.out(torch.relu_(self.hidden(points))))
