"""How far predicted relief is off: by its slopes above all, since they are what light shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mesoface.lab.training.config import ReliefLoss
from mesoface.relief.inputs import HIGH_PASS

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
