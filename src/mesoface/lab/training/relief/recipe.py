"""The two networks that may be trained, behind one face: a batch of squares to relief in texels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mesoface.files.dpmap import FULL_SCALE_MM
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.relief.config import MesoConfig
from mesoface.lab.training.relief.data import Batch
from mesoface.lab.training.relief.loss import high_pass
from mesoface.relief.network import MesoGenerator, ReliefGenerator

# Standard deviation of first weights: of all layers (Isola et al., CVPR 2017), and of the last one, so that
# an untrained network says next to nothing.
_SPREAD, _LAST_SPREAD = 0.02, 1e-4


class Recipe(Protocol):
    """A network, and how its answer is read."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def name(self) -> str:
        """Of the network, as in ``mesoface.weights.NETWORKS``."""
        ...

    def relief(self, batch: Batch) -> Tensor:
        """(B, 1, n, n) relief in texels, with a gradient, as a result would use it."""
        ...


@dataclass(frozen=True, eq=False)
class LightRecipe:
    """The light network; what is smooth in its answer does not count, as it is taken away later."""

    network: ReliefGenerator
    name: str = "relief_generator"

    def relief(self, batch: Batch) -> Tensor:
        """See :class:`Recipe`."""
        return high_pass(self.network(batch.maps), batch.valid)


@dataclass(frozen=True, eq=False)
class PaperRecipe:
    """The published architecture: colour alone to displacement, whose full scale is FaceScape's."""

    network: MesoGenerator
    name: str = "meso_generator"

    def relief(self, batch: Batch) -> Tensor:
        """See :class:`Recipe`."""
        return self.network(2 * batch.color - 1) * (FULL_SCALE_MM / batch.texel_mm) * batch.valid


def make_recipe(config: MesoConfig) -> Recipe:
    """The network of ``config`` with first weights, drawn by torch's global generator or those of ``init``.

    Raises:
        MesofaceError: ``init`` does not fit.
    """
    recipe: Recipe
    if config.network == "paper":
        recipe = PaperRecipe(_with_small_weights(MesoGenerator(config.width)))
    else:
        recipe = LightRecipe(ReliefGenerator())
    if config.init is not None:
        load_weights(recipe.network, config.init)
    return recipe


@torch.no_grad()
def _with_small_weights(generator: MesoGenerator) -> MesoGenerator:
    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=_LAST_SPREAD if layer is layers[-1] else _SPREAD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return generator
