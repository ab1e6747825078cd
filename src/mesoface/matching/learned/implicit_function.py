"""The implicit function: F(V(p), d(p)), the matching cost of a point from what the views show there.

After Xiao et al. 2022, section 3.2: a perceptron on the aggregated features of one point and on its
displacement. Ours is much smaller, is told the level too, and sees the classical correlation beside the
learned features, so that training starts from what is known to work.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mesoface.matching.learned.aggregation import agreement
from mesoface.matching.learned.features import gaussian_blur

# Standard deviations of the classical correlation's windows, texels.
WINDOWS = (1.0, 2.5)


def describe_points(
    sampled: Iterable[tuple[Tensor, Tensor]],
    groups: int,
    steps: Tensor,
    texel_mm: float,
) -> Tensor:
    """V(p) and d(p): everything that the implicit function is told about each (u, v, d).

    Args:
        sampled: for every view, its features (C, D, H, W) as :class:`Features` makes them and its
            visibility (H, W).
        groups: of the descriptor.
        steps: (D,) mm.
        texel_mm: distance between texels.

    Returns:
        (2 · groups + 2 + 6, D, H, W)
    """

    def parts() -> Iterable[tuple[Tensor, Tensor]]:
        for features, visibility in sampled:
            weight = visibility * features[-2]
            descriptor = features[:-2].unflatten(0, (groups, -1))
            # The contrast is one more group, in the same width: its other channels are empty.
            contrast = torch.zeros_like(descriptor[:1])
            contrast[:, 0] = features[-1]
            yield torch.cat([descriptor, contrast]), weight

    coherence, energy, weight, paired = agreement(parts())
    product, power = coherence[-1], energy[-1]
    correlation = [gaussian_blur(product, sigma) / (gaussian_blur(power, sigma) + 0.05) for sigma in WINDOWS]
    step = float(steps[1] - steps[0])
    d = (steps.to(product.dtype) / (8 * step))[:, None, None].expand_as(product)
    level = torch.log2(torch.tensor([2 * texel_mm, 4 * step / texel_mm], dtype=product.dtype)) / 2
    about = [weight.clamp(max=4) / 4, paired, power.clamp(max=4) / 4, d]
    about += [number.to(product.device).expand_as(product) for number in level]
    return torch.cat([coherence[:-1], energy[:-1], torch.stack(correlation + about)])


class ImplicitFunction(nn.Module):
    """A perceptron at every point.

    Args:
        groups: of the descriptor.
        hidden: width of the hidden layer.
        channels: of what it passes on to the regulariser.
    """

    def __init__(self, groups: int = 4, hidden: int = 32, channels: int = 16):
        super().__init__()
        self.hidden = nn.Conv3d(2 * groups + len(WINDOWS) + 6, hidden, 1)
        self.out = nn.Conv3d(hidden, channels, 1)
        self.cost = nn.Conv3d(channels, 1, 1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The matching cost as a score: higher is better.

        Args:
            points: from :func:`describe_points`, (F, D, H, W).

        Returns:
            score (D, H, W), and the (channels, D, H, W) that it is a linear function of.
        """
        x = torch.relu(self.hidden(points[None]))
        x = torch.relu(self.out(x))
        return self.cost(x)[0, 0], x[0]
