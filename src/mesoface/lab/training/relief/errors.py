"""How far predicted relief is off: the loss, the figures of a validation, and its picture.

The error is above all that of the slopes, since they are what light shows of relief.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mesoface.lab.training.config import ReliefLoss
from mesoface.lab.training.relief.pool import Square
from mesoface.lab.training.validation import contact_sheet, spread_out
from mesoface.relief.inputs import HIGH_PASS, slopes
from mesoface.rendering.false_color import colorize

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
    return contact_sheet(_TITLES, [_row(answer) for answer in spread_out(found)])


def _row(answer: SquareAnswer) -> list[NDArray[np.float64]]:
    square = answer.square
    truth = square.relief.astype(np.float32)
    deepest = max(float(np.percentile(np.abs(truth), 99)), 1e-3)
    heights = [np.where(square.valid, relief, np.nan) for relief in (truth, answer.relief)]
    return [
        square.color / 255.0,
        colorize(np.where(square.valid, square.maps[0], np.nan), _LUMINANCE_LIMITS, "gray"),
        *(
            colorize(np.where(square.valid, _lit(relief), np.nan), (0, 1), "gray")
            for relief in (truth, answer.relief)
        ),
        *(colorize(height, (-deepest, deepest), "balance") for height in heights),
    ]


def _lit(relief: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, n) brightness of matt, even relief in the light of one lamp."""
    along_columns, along_rows = slopes(relief * np.float32(_STEEPNESS))
    normal = np.stack([-along_columns, -along_rows, np.ones_like(relief)], -1)
    return np.clip(normal @ _LAMP / np.linalg.norm(normal, axis=-1), 0, 1)
