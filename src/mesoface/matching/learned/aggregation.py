"""Many views become one description of how well they agree, whatever their number and order.

The paper aggregates by the plain mean and variance over views, occluded ones included. Here every view
counts by how well it sees the point, and each group of a descriptor is summarised by its *coherence*: the
mean cosine over all pairs of views. For unit vectors that is the variance, without the bias that depends on
the number of views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST = 1e-4


class Agreement(NamedTuple):
    """What the views say together.

    Args:
        coherence: (G, ...) in [-1, 1], mean cosine of each group over the pairs of views.
        energy: (G, ...) its mean squared length.
        weight: (...,) total weight of the views.
        paired: (...,) the share of it that lies in pairs: 1 - 1/n for n views that count the same.
    """

    coherence: Tensor
    energy: Tensor
    weight: Tensor
    paired: Tensor


def agreement(sampled: Iterable[tuple[Tensor, Tensor]]) -> Agreement:
    """Coherence of each group over the views, without ever holding more than one of them.

    With weights w, Σ_{i≠j} w_i w_j f_i·f_j = |Σ w f|² − Σ w²|f|².

    Args:
        sampled: for every view, the groups (G, C, ...) that it shows at each point, and how much it counts
            there, (...,).
    """
    first = square = weight = weight2 = torch.zeros(())
    for features, w in sampled:
        first = first + w * features
        square = square + w**2 * (features**2).sum(1)
        weight = weight + w
        weight2 = weight2 + w**2
    pairs = weight**2 - weight2
    seen = (pairs > _LEAST).to(pairs.dtype)
    coherence = seen * ((first**2).sum(1) - square) / pairs.clamp(min=_LEAST)
    energy = square / weight2.clamp(min=_LEAST)
    return Agreement(coherence, energy, weight, pairs / (weight**2).clamp(min=_LEAST))


def agreement_by_pairs(features: Tensor, weights: Tensor) -> Tensor:
    """The coherence of :func:`agreement` as it is defined: pair by pair. For reading and for tests.

    Args:
        features: (V, G, C, ...).
        weights: (V, ...).

    Returns:
        (G, ...)
    """
    total = torch.zeros_like(features[0, :, 0])
    pairs = torch.zeros_like(weights[0])
    for i in range(len(features)):
        for j in range(len(features)):
            if i != j:
                both = weights[i] * weights[j]
                total = total + both * (features[i] * features[j]).sum(1)
                pairs = pairs + both
    return torch.where(pairs > _LEAST, total / pairs.clamp(min=_LEAST), torch.zeros_like(total))
