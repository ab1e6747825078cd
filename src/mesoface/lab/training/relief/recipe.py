"""The two networks of relief that may be trained: a batch of squares to relief in texels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mesoface.errors import InterruptedJobsError
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import FULL_SCALE_MM
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import ReliefConfig, ReliefLoss, RunConfig
from mesoface.lab.training.log import Log
from mesoface.lab.training.relief.data import Batch, PlacedSquare, SquareSamples, open_pools
from mesoface.lab.training.relief.errors import (
    ReliefError,
    SquareAnswer,
    figures,
    high_pass,
    in_words,
    picture,
    relief_error,
)
from mesoface.relief.network import MesoGenerator, ReliefGenerator
from mesoface.running.progress import ProgressCallback, progress_bars

# Standard deviation of first weights: of all layers (Isola et al., CVPR 2017), and of the last one, so that
# an untrained network predicts next to nothing.
_SPREAD, _LAST_SPREAD = 0.02, 1e-4


class ReliefRecipe(ABC):
    """A :class:`~mesoface.lab.training.recipe.Recipe` for squares of skin.

    Args:
        network: with first weights.
        at_a_time: squares that go through it together.
        weights: of the parts of the loss.
    """

    name: str

    def __init__(self, network: nn.Module, at_a_time: int = 1, weights: ReliefLoss = ReliefLoss()):  # noqa: B008
        self.network, self.at_a_time, self._weights = network, at_a_time, weights

    @abstractmethod
    def relief(self, batch: Batch) -> Tensor:
        """(B, 1, n, n) relief in texels, with a gradient, as a result would use it."""

    def open_data(self, config: RunConfig) -> SquareSamples:
        """Squares that :func:`make_squares` made."""
        config = cast(ReliefConfig, config)
        return SquareSamples(open_pools(config.data, config), config.seed)

    def open_unseen(self, config: RunConfig, progress: ProgressCallback) -> list[PlacedSquare]:
        """All squares of all sources."""
        config = cast(ReliefConfig, config)
        pools = open_pools(config.validation.sources, config)
        return [(pool[n], pool.texel_mm) for pool in pools for n in range(len(pool))]

    def batch_loss(
        self, samples: Sequence[PlacedSquare], rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of all squares together, and the share of the missing slope that is left."""
        _, error = self._compared(samples)
        return error.loss(self._weights), {"slope_left": error.left}

    @torch.inference_mode()
    def answers(self, samples: Sequence[PlacedSquare]) -> list[SquareAnswer]:
        """See :meth:`relief`."""
        relief, error = self._compared(samples)
        return [
            SquareAnswer(
                square, relief[n, 0].cpu().numpy(), float(error.slope[n]), float(error.slope_missing[n])
            )
            for n, (square, _) in enumerate(samples)
        ]

    def _compared(self, samples: Sequence[PlacedSquare]) -> tuple[Tensor, ReliefError]:
        batch = Batch.of(samples, next(self.network.parameters()).device)
        relief = self.relief(batch).float()
        return relief, relief_error(relief, batch.relief, batch.valid)

    figures = staticmethod(figures)
    in_words = staticmethod(in_words)
    picture = staticmethod(picture)

    def reference(self, unseen: Sequence[PlacedSquare], log: Log) -> dict[str, float]:
        """Nothing: the figures compare with predicting no relief."""
        return {}

    def write_samples(self, path: Path, samples: Sequence[PlacedSquare]) -> None:
        """The stacked arrays of the squares, and the sizes of their texels."""
        arrays = {
            name: np.stack([getattr(square, name) for square, _ in samples])
            for name in ("maps", "relief", "valid", "color")
        }
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, texel_mm=[texel for _, texel in samples], **arrays)


class LightRecipe(ReliefRecipe):
    """The light network; what is smooth in its answer does not count, as it is taken away later."""

    name = "relief_generator"

    def relief(self, batch: Batch) -> Tensor:
        """See :class:`ReliefRecipe`."""
        answer = self.network(batch.maps)
        with torch.autocast(answer.device.type, enabled=False):  # a small difference of large numbers
            return high_pass(answer.float(), batch.valid)


class PaperRecipe(ReliefRecipe):
    """The published architecture: colour alone to displacement, whose full scale is FaceScape's."""

    name = "meso_generator"

    def relief(self, batch: Batch) -> Tensor:
        """See :class:`ReliefRecipe`."""
        return self.network(2 * batch.color - 1) * (FULL_SCALE_MM / batch.texel_mm) * batch.valid


def relief_recipe(config: ReliefConfig) -> ReliefRecipe:
    """The network of ``config`` with first weights, drawn by torch's global generator or those of ``init``.

    Raises:
        MesofaceError: ``init`` does not fit.
    """
    recipe: ReliefRecipe
    if config.network == "paper":
        generator = _with_small_weights(MesoGenerator(config.width))
        recipe = PaperRecipe(generator, config.batch, config.loss)
    else:
        recipe = LightRecipe(ReliefGenerator(), config.batch, config.loss)
    if config.init is not None:
        load_weights(recipe.network, config.init)
    return recipe


def make_squares(config: ReliefConfig) -> None:
    """Make the squares to train and to validate on that are not there yet.

    Raises:
        MesofaceError: pairs are missing or not what they should be, or squares cannot be written.
        InterruptedJobsError: Ctrl-C; squares that were made are kept.
    """
    try:
        with progress_bars(remaining=True) as progress:
            open_pools(config.data, config, progress)
            open_pools(config.validation.sources, config, progress)
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; finished squares are kept",
            path=config.cache,
            remedy="run the same command again to go on",
        ) from stop


@torch.no_grad()
def _with_small_weights(generator: MesoGenerator) -> MesoGenerator:
    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=_LAST_SPREAD if layer is layers[-1] else _SPREAD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return generator
