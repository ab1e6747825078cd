"""What the classical matcher says of the same texels: where the network starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mesoface.matching.classical import ClassicalAnswer

# Squared distance from the classical answer, steps, from which further off is no worse.
_FAR = 9.0


class Opinion(NamedTuple):
    """The classical matcher's answer to a level, or to a part of it.

    Args:
        scores: (D, H, W) in [-1, 1], mean windowed correlation of chosen pairs of views.
        peak: (H, W) mm, where each texel's own scores are highest.
        trust: (H, W) in [0, 1], how sure of that it is.
        displacement: (H, W) mm, the surface that it makes of them.
        weight: (H, W) in [0, 1], how sure of it it is.
    """

    scores: Tensor
    peak: Tensor
    trust: Tensor
    displacement: Tensor
    weight: Tensor

    @classmethod
    def of(cls, answer: ClassicalAnswer, device: torch.device | str) -> Opinion:
        """The same as tensors."""
        values = (answer.scores, answer.peak, answer.trust, answer.displacement, answer.weight)
        return cls(*(torch.from_numpy(np.ascontiguousarray(value)).to(device) for value in values))

    def part(self, rows: slice, columns: slice) -> Opinion:
        """Of a rectangle of the maps."""
        return Opinion(*(value[..., rows, columns] for value in self))

    def distance(self, steps: Tensor) -> Tensor:
        """(H, W, D) how far each displacement lies beyond the classical one, in steps."""
        return (steps.to(self.displacement.dtype) - self.displacement[..., None]) / (steps[1] - steps[0])


def closeness(distance: Tensor) -> Tensor:
    """Logarithm of a bell around the classical answer that is level from a few steps off."""
    return -0.5 * (distance**2).clamp(max=_FAR)
