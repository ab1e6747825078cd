"""The learned regularisation of Xiao et al. 2022: a 3D U-Net one channel wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.files.weights import Network


class ConvNormReLU3d(nn.Module):
    """3×3×3 convolution without bias, batch normalisation, ReLU: (B, in, D, H, W) → (B, out, …)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) → (B, out, D, H, W), halved by a stride of two."""
        return F.relu(self.bn(self.conv(x)))


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the height and width, and 2D − 1 steps: the inverse of a stride of two on an odd D."""
    return nn.Sequential(
        nn.ConvTranspose3d(inputs, outputs, 3, stride=2, padding=1, output_padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
    )


class Regularizer(nn.Module):
    """Smooths a volume of matching costs and reads the displacement off it.

    The names are the published checkpoint's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = ConvNormReLU3d(1, 1)
        self.conv1 = ConvNormReLU3d(1, 2, stride=2)
        self.conv2 = ConvNormReLU3d(2, 2)
        self.conv3 = ConvNormReLU3d(2, 4, stride=2)
        self.conv4 = ConvNormReLU3d(4, 4)
        self.conv9 = _upsample(4, 2)
        self.conv11 = _upsample(2, 1)
        self.last_conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, volume: Tensor, steps: Tensor, mask: Tensor) -> Tensor:
        """Displacement from a volume of matching costs.

        Args:
            volume: (B, 1, D, H, W); D = 4k + 1, H and W divisible by four, as two strides of two ask for.
            steps: (B, D) displacement that each slice stands for, in steps.
            mask: (B, H, W), 1 on the face and 0 elsewhere, where the volume is taken to be 0 as well.

        Returns:
            (B, H, W) expected displacement, in steps; 0 outside the mask.

        Raises:
            ValueError: a shape is another one.
        """
        probability = self.probability(volume, mask)
        if steps.shape != probability.shape[:2]:
            raise ValueError(f"steps must be {tuple(probability.shape[:2])}, got {tuple(steps.shape)}")
        return expected_step(probability, steps) * mask

    def probability(self, volume: Tensor, mask: Tensor) -> Tensor:
        """Which step each texel's surface is at: a distribution over D.

        Args:
            volume: as of :meth:`forward`.
            mask: as of :meth:`forward`.

        Returns:
            (B, D, H, W), 1 in sum over D.

        Raises:
            ValueError: a shape is another one.
        """
        _check_shapes(volume, mask)
        skip0 = self.conv0(volume * mask[:, None, None])
        skip1 = self.conv2(self.conv1(skip0))
        x = self.conv4(self.conv3(skip1))
        x = skip1 + self.conv9(x)
        x = skip0 + self.conv11(x)
        return torch.softmax(self.last_conv(x)[:, 0], 1)


def expected_step(probability: Tensor, steps: Tensor) -> Tensor:
    """(B, D, H, W) distribution over D and (B, D) steps → (B, H, W) expectation of the step."""
    return (probability * steps[:, :, None, None]).sum(1)


def probability_near(probability: Tensor, steps: Tensor, expected: Tensor, radius: float) -> Tensor:
    """Mass of a distribution within ``radius`` steps of its expectation.

    What Yao et al. 2018 (MVSNet) judge a depth by: it is small where the distribution has several peaks or
    none, and its expectation means nothing.

    Args:
        probability: (B, D, H, W).
        steps: (B, D).
        expected: (B, H, W) of :func:`expected_step`.
        radius: steps.

    Returns:
        (B, H, W) in [0, 1].
    """
    near = (steps[:, :, None, None] - expected[:, None]).abs() <= radius
    return (probability * near).sum(1)


def displacement_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean square error over all texels; ``prediction``, ``target`` and ``mask`` (B, H, W), steps."""
    return F.mse_loss(prediction, target * mask)


def _check_shapes(volume: Tensor, mask: Tensor) -> None:
    if volume.ndim != 5 or volume.shape[1] != 1:
        raise ValueError(f"volume must be (B, 1, D, H, W), got {tuple(volume.shape)}")
    batch, _, depth, height, width = volume.shape
    if depth % 4 != 1 or height % 4 or width % 4 or min(depth, height, width) < 4:
        raise ValueError(
            f"volume must have 4k + 1 steps and a height and width divisible by 4, "
            f"got {depth} × {height} × {width}"
        )
    if mask.shape != (batch, height, width):
        raise ValueError(f"mask must be {(batch, height, width)}, got {tuple(mask.shape)}")


REGULARIZER = Network("regularizer", "3D U-Net over the matching costs", lambda _: Regularizer())
