"""A running average of the weights: steadier than the weights of any one step, above all at a level rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average (Polyak 1992) of the trained parameters of a network.

    Args:
        network: whose parameters are averaged; frozen ones and buffers stay as they are.
        decay: share of the average that a step keeps. Less at the beginning, so that the first weights are
            soon forgotten.
        state: an average to go on from, as :attr:`state` gave it; empty to begin from the weights.
    """

    def __init__(self, network: nn.Module, decay: float, state: Mapping[str, Tensor]):
        self._network, self._decay = network, decay
        self.state = {
            name: state.get(name, parameter).detach().to(parameter.device, copy=True)
            for name, parameter in self._trained()
        }
        """{name of the parameter: its average}"""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        decay = min(self._decay, step / (10 + step))
        for name, parameter in self._trained():
            self.state[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The network has the averaged weights for a block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._trained():
            own = parameter.clone()
            parameter.copy_(self.state[name])
            self.state[name] = own

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return (item for item in self._network.named_parameters() if item[1].requires_grad)
