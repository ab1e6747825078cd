"""The two networks of relief that may be trained, their loss, the figures of a validation and its picture.

The error is above all that of the slopes, since they are what light shows of relief.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mesoface.errors import InterruptedJobsError
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import FULL_SCALE_MM
from mesoface.lab.training.checkpoint import load_weights
from mesoface.lab.training.config import ReliefConfig, ReliefLoss, RunConfig
from mesoface.lab.training.log import Log
from mesoface.lab.training.relief.pool import Batch, PlacedSquare, SquareSamples, open_pools
from mesoface.lab.training.relief.skin import Square
from mesoface.lab.training.validation import contact_sheet
from mesoface.relief.inputs import HIGH_PASS, slopes
from mesoface.relief.network import MesoGenerator, ReliefGenerator
from mesoface.rendering.false_color import colorize
from mesoface.running.progress import ProgressCallback, progress_bars

# Smooths the absolute value at zero, in texels of height for a texel of way, and texels.
_SOFT = 1e-3
# Relief below this counts less: on smooth skin there is nothing to learn. Slope, and texels of height.
_FLOOR = 0.05


@dataclass(frozen=True, eq=False)
class ReliefError:
    """Errors of a batch of predictions, each a mean over a square's skin.

    Args:
        slope: (B,) length of the slopes' error.
        slope_missing: (B,) the same of predicting nothing.
        height: (B,) absolute error, texels.
        height_missing: (B,) the same of predicting nothing.
    """

    slope: Tensor
    slope_missing: Tensor
    height: Tensor
    height_missing: Tensor

    def loss(self, weights: ReliefLoss) -> Tensor:
        """The scalar to minimise; relative on each square, so that fine pores count as deep wrinkles do."""
        slope = (self.slope / (self.slope_missing + _FLOOR)).mean()
        height = (self.height / (self.height_missing + _FLOOR)).mean()
        return weights.slope * slope + weights.height * height

    @property
    def left(self) -> float:
        """Share of the missing slope that is still missing, over the batch; 1 = as predicting nothing."""
        return float(self.slope.detach().sum() / self.slope_missing.sum().clamp_min(1e-9))


def relief_error(predicted: Tensor, truth: Tensor, valid: Tensor) -> ReliefError:
    """Compare relief with the truth.

    Args:
        predicted: (B, 1, n, n) texels.
        truth: (B, 1, n, n) texels.
        valid: (B, 1, n, n) 1 where there is skin, else 0.
    """
    inner = (functional.avg_pool2d(valid, 3, 1) > 0.99).float()  # all that a slope is made of is skin
    error = predicted - truth
    return ReliefError(
        _mean(_steepness(error), inner),
        _mean(_steepness(truth), inner),
        _mean(_soft(error.square()), valid),
        _mean(_soft(truth.square()), valid),
    )


def high_pass(height: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, n, n) what :func:`mesoface.relief.inputs.high_pass` makes of it, with a gradient."""
    smooth = _blur(height * valid) / _blur(valid).clamp_min(1e-6)
    return (height - smooth) * valid


def _steepness(height: Tensor) -> Tensor:
    """(B, 1, n, n) → (B, 1, n-2, n-2) length of the gradient by central differences, softened at 0."""
    along_columns = (height[..., 1:-1, 2:] - height[..., 1:-1, :-2]) / 2
    along_rows = (height[..., 2:, 1:-1] - height[..., :-2, 1:-1]) / 2
    return _soft(along_columns.square() + along_rows.square())


def _soft(square: Tensor) -> Tensor:
    """The root, 0 at 0, with a finite gradient there."""
    return (square + _SOFT**2).sqrt() - _SOFT


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(B, 1, h, w) → (B,); 0 where there is no weight."""
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)


def _blur(values: Tensor) -> Tensor:
    """Gaussian of the high-pass, zero outside, as OpenCV's filters in ``blur_masked``."""
    radius = int(np.ceil(3 * HIGH_PASS))
    kernel = cv2.getGaussianKernel(2 * radius + 1, HIGH_PASS, cv2.CV_32F)
    taps = torch.as_tensor(kernel, device=values.device, dtype=values.dtype).reshape(1, 1, 1, -1)
    rows = functional.conv2d(values, taps, padding=(0, radius))
    return functional.conv2d(rows, taps.transpose(2, 3), padding=(radius, 0))


_TITLES = (
    "colour",
    "luminance, high-passed",
    "truth, lit",
    "answer, lit",
    "truth, height",
    "answer, same scale",
)
_LUMINANCE_LIMITS = (-3.0, 3.0)  # of the input channel, which is scaled to about 1
_STEEPNESS = 3.0  # shown slopes are exaggerated so many times
_LAMP = np.array([-0.5, -0.5, 0.7])  # from the upper left


@dataclass(frozen=True, eq=False)
class SquareAnswer:
    """A network's answer to a square.

    Args:
        square: with the truth.
        relief: (n, n) texels.
        slope: mean length of the slopes' error.
        slope_missing: the same of predicting nothing.
    """

    square: Square
    relief: NDArray[np.float32]
    slope: float
    slope_missing: float


def figures(found: Sequence[SquareAnswer]) -> dict[str, float]:
    """How good answers are over all squares.

    Returns:
        ``slope_left``, the share of the missing slope that is still missing (1: as predicting nothing);
        ``worst_left``, the same of the square in the 90th percentile; ``slope`` and ``slope_missing``, mean
        lengths of the slopes' error and of the true slopes; ``correlation`` of the heights, texel by texel.
    """
    slope = np.array([answer.slope for answer in found])
    missing = np.array([answer.slope_missing for answer in found])
    said = np.concatenate([answer.relief[answer.square.valid] for answer in found]).astype(np.float64)
    true = np.concatenate([answer.square.relief[answer.square.valid] for answer in found]).astype(np.float64)
    spread = float(np.sqrt((said**2).sum() * (true**2).sum()))  # high-passed: their means are 0
    return {
        "slope_left": float(slope.sum() / max(missing.sum(), 1e-12)),
        "worst_left": float(np.percentile(slope / np.maximum(missing, 1e-6), 90)),
        "slope": float(slope.mean()),
        "slope_missing": float(missing.mean()),
        "correlation": float((said * true).sum() / spread) if spread > 0 else 0.0,
    }


def in_words(values: Mapping[str, float]) -> tuple[str, str]:
    """:func:`figures` as a sentence, and the slope that is left in a few words."""
    sentence = (
        f"{100 * values['slope_left']:.1f} % of the missing slope is left "
        f"(90th percentile of squares {100 * values['worst_left']:.0f} %), "
        f"heights correlate {values['correlation']:.3f}"
    )
    return sentence, f"{100 * values['slope_left']:.1f} % left"


def picture(found: Sequence[SquareAnswer]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a row for a square; colour, luminance, then truth and answer lit and as heights."""
    return contact_sheet(_TITLES, found, _row)


def _row(answer: SquareAnswer) -> list[NDArray[np.float64]]:
    square = answer.square
    truth = square.relief.astype(np.float32)
    deepest = max(float(np.percentile(np.abs(truth), 99)), 1e-3)

    def shown(values: NDArray, limits: tuple[float, float], colours: str) -> NDArray:
        return colorize(np.where(square.valid, values, np.nan), limits, colours)

    return [
        square.color / 255.0,
        shown(square.maps[0], _LUMINANCE_LIMITS, "gray"),
        *(shown(_lit(relief), (0, 1), "gray") for relief in (truth, answer.relief)),
        *(shown(relief, (-deepest, deepest), "balance") for relief in (truth, answer.relief)),
    ]


def _lit(relief: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, n) brightness of matt, even relief in the light of one lamp."""
    along_columns, along_rows = slopes(relief * np.float32(_STEEPNESS))
    normal = np.stack([-along_columns, -along_rows, np.ones_like(relief)], -1)
    return np.clip(normal @ _LAMP / np.linalg.norm(normal, axis=-1), 0, 1)


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
        names = ("maps", "relief", "valid", "color")
        arrays = {name: np.stack([getattr(square, name) for square, _ in samples]) for name in names}
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
