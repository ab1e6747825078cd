"""Training of our matcher: its own matching cost first, then everything with the regulariser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.lab.training.augment import augmented
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import MatchingConfig, MatchingLoss, RegularizerConfig, Stage, TrainingError
from mesoface.lab.training.losses import (
    confidence_loss,
    displacement_loss,
    distribution_loss,
    make_target,
    relative_loss,
    slope_loss,
)
from mesoface.lab.training.tile import Tile
from mesoface.lab.training.tile_recipe import TileRecipe, classical_answer
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.learned.network import Opinion, soft_argmin

# Parts of the matcher before and after the matching cost.
_UP_TO_COST, _AFTER_COST = ("features.", "implicit_function."), ("regularizer.", "refinement.")

# Losses of the classical matcher that are small already; slopes are in mm per mm.
_FLOOR, _FLOOR_SLOPE = 0.1, 0.02


@dataclass(eq=False)
class OurRecipe(TileRecipe):
    """A :class:`~mesoface.matching.learned.SurfaceMatcher` and its losses.

    Args:
        network: the matcher.
        stage: ``matching`` trains features and implicit function through the cost alone; ``regularizer``
            trains whatever of the network is not frozen through everything that it says.
        weights: of the parts of the loss.
        augment: whether tiles are disturbed before training sees them.
    """

    network: nn.Module
    stage: Stage
    weights: MatchingLoss
    augment: bool = True

    def prepare(self, tile: Tile, rng: np.random.Generator) -> Tile:
        """The tile with noise, blur, fewer views and the like, and what the classical matcher makes of it."""
        tile = augmented(tile, rng) if self.augment else tile
        return replace(tile, classical=classical_answer(tile))

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Weighted sum of the losses of :mod:`mesoface.lab.training.losses`, and each of them."""
        inputs = _inputs(tile, self.device())
        prediction = self.network(**inputs)
        truth = torch.as_tensor(tile.truth, device=self.device())
        target = make_target(truth, inputs["visibility"], inputs["steps"], tile.texel_mm)
        sigma, displacement = self.weights.sigma, prediction.displacement
        cost = distribution_loss(prediction.cost, target, sigma)
        if self.stage == "matching":
            return cost, {"cost": float(cost.detach())}
        classical = inputs["opinion"].displacement
        parts = {
            "cost": cost,
            "distribution": distribution_loss(prediction.logits, target, sigma),
            "displacement": relative_loss(
                displacement_loss(displacement, target), displacement_loss(classical, target), _FLOOR
            ),
            "slope": relative_loss(
                slope_loss(displacement, target), slope_loss(classical, target), _FLOOR_SLOPE
            ),
            "confidence": confidence_loss(prediction.confidence, displacement, target),
        }
        total = torch.stack([getattr(self.weights, name) * part for name, part in parts.items()]).sum()
        return total, {name: float(part.detach()) for name, part in parts.items()}

    @torch.no_grad()
    def predict(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Displacement and confidence; in the matching stage read off the cost itself."""
        inputs = _inputs(tile, self.device())
        prediction = self.network(**inputs)
        if self.stage == "regularizer":
            return prediction.displacement.float().cpu().numpy(), prediction.confidence.float().cpu().numpy()
        cost = prediction.cost.float()
        return soft_argmin(cost, inputs["steps"]).cpu().numpy(), torch.softmax(cost, 0).amax(0).cpu().numpy()


def our_recipe(config: MatchingConfig) -> OurRecipe:
    """Our matcher with first weights: nearly the classical matcher, or ``init``, or the other stage's.

    Raises:
        MesofaceError: weights do not fit, or the precision is none that it trains in.
    """
    on_cpu = config.machine.device == "cpu" or not torch.cuda.is_available()
    if on_cpu and config.machine.precision != "32-true":
        raise TrainingError(
            "machine.precision: on a CPU our network's loops are compiled for full precision",
            remedy='set it to "32-true"',
        )
    network = SurfaceMatcher()
    network.start_from_classical()
    frozen: tuple[str, ...] = _AFTER_COST if config.stage == "matching" else ()
    if isinstance(config, RegularizerConfig):
        if config.matching is not None:
            load_weights(network, config.matching)
        frozen = _UP_TO_COST if config.freeze_matching else ()
    if config.init is not None:
        load_weights(network, config.init)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    return OurRecipe(network, config.stage, config.loss, config.augment)


def _inputs(tile: Tile, device: torch.device) -> dict:
    """The arguments of ``SurfaceMatcher.forward`` for a tile."""

    def tensor(values: NDArray) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=device)

    return {
        "images": [tensor(image).permute(2, 0, 1).contiguous() for image in tile.images],
        "projections": torch.as_tensor(tile.projections, device=device),
        "position": tensor(tile.position),
        "normal": tensor(tile.normal),
        "visibility": tensor(tile.visibility),
        "opinion": Opinion.of(tile.classical or classical_answer(tile), device),
        "steps": tensor(tile.steps),
        "texel_mm": tile.texel_mm,
    }
