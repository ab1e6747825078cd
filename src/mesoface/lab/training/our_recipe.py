"""Training of our matcher: its own matching cost first, then everything with the regulariser.

The distribution over the displacements is compared with a Gaussian around the truth, as Xiao et al. 2022 do
with their matching cost (there as a mean square error over sampled points; here as a cross-entropy over the
searched displacements, which punishes a second, wrong peak). The displacement itself, and its slope (shading
is what people see), are compared relative to the classical matcher's errors on the same tile: so a sharp and
well lit tile, where a hundredth of a millimetre is worth something, counts as much as a noisy one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import MatchingConfig, MatchingLoss, RegularizerConfig, Stage, TrainingError
from mesoface.lab.training.tile import Tile, augmented
from mesoface.lab.training.tile_recipe import TileRecipe, classical_answer
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.learned.network import Opinion, soft_argmin
from mesoface.uvd.visibility import SEEN

# Error, steps, from which on a relative improvement counts, not an absolute one.
_FINE_STEPS = 0.25


@dataclass(frozen=True)
class Target:
    """The truth of a tile, and where it is known.

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
    """The target of a tile with (H, W) ``truth``, NaN where it is not known, and (V, H, W) ``visibility``."""
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

    ``floor`` is added to the classical matcher's: errors this small do not matter.
    """
    return own / (classical.detach() + floor)


def confidence_loss(confidence: Tensor, displacement: Tensor, target: Target) -> Tensor:
    """Binary cross-entropy of the (H, W) confidence logit with: less than a step from the truth.

    Also where the truth lies outside of the search range: there the confidence should be low.
    """
    right = target.inside & ((displacement.detach() - target.truth).abs() < target.step_mm)
    each = F.binary_cross_entropy_with_logits(confidence.float(), right.float(), reduction="none")
    return masked_mean(each, target.known)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is set; 0, with gradients of 0, where it is set nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


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
            trains whatever of the network is not frozen through all of its outputs.
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
        """Weighted sum of the losses of :mod:`mesoface.lab.training.our_recipe`, and each of them."""
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
        load_weights(network, config.matching)
        frozen = _UP_TO_COST if config.freeze_matching else ()
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
