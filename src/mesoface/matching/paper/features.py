"""Image features of Xiao et al. 2022: half the photo's resolution, 128 channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 128
"""Channels of the features."""
_GROUPS = 32


class ConvNormReLU(nn.Module):
    """3×3 convolution without bias, group normalisation, ReLU: (B, in, h, w) → (B, out, h, w)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.GroupNorm(_GROUPS, outputs)  # the published checkpoint's name for it

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) → (B, out, h, w)."""
        return F.relu(self.bn(self.conv(x)))


class FeatureNetwork(nn.Module):
    """Eight convolutions, the first of stride two. The names are the published checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 32, 5, stride=2, padding=2)
        self.conv2 = ConvNormReLU(32, 32)
        self.conv3 = ConvNormReLU(32, 32)
        self.conv4 = ConvNormReLU(32, 64)
        self.conv5 = ConvNormReLU(64, 64)
        self.conv6 = ConvNormReLU(64, 64)
        self.conv7 = ConvNormReLU(64, 64)
        self.feature = nn.Conv2d(64, CHANNELS, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Features of photos.

        The first convolution's window is centred on every second pixel, so the feature at (x, y) belongs to
        the pixel (2x, 2y).

        Args:
            images: (B, 3, H, W) blue, green, red in 0…255, as trained.

        Returns:
            (B, 128, ⌈H/2⌉, ⌈W/2⌉).

        Raises:
            ValueError: ``images`` has another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        x = self.conv0(images)
        for layer in (self.conv2, self.conv3, self.conv4, self.conv5, self.conv6, self.conv7):
            x = layer(x)
        return self.feature(x)
