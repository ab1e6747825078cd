"""A linear layer at every point: a convolution with a kernel of one, as the product that it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pointwise(nn.Linear):
    """(C, ...) → (K, ...), with the channels last in memory, whatever way they lay before.

    Torch's convolutions of this size take a slow path on the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(C, ...) → (K, ...)."""
        points = torch.addmm(self.bias, x.flatten(1).T, self.weight.T)
        return points.T.unflatten(1, x.shape[1:])
