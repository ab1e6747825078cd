"""The network that predicts mesoscopic displacement from texture (Yang et al. 2020, FaceScape).

An image-to-image generator after Johnson et al. 2016 as Wang et al. 2018 (pix2pixHD) use it: down, residual
blocks, up.
"""

from __future__ import annotations

from torch import Tensor, nn

from mesoface.files.checkpoints import State
from mesoface.files.weights import Network

PUBLISHED_WIDTH = 64
"""Channels after the first convolution of the published weights (``ngf``)."""
_HALVINGS, _BLOCKS = 4, 9
_FACTOR = 2**_HALVINGS
_WIDTH_FROM = "model.1.weight"  # its first dimension is the generator's width
_MAX_WIDTH = 256


class ResidualBlock(nn.Module):
    """x + two 3×3 convolutions of it: (B, channels, h, w) → (B, channels, h, w)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, channels, h, w)."""
        return x + self.conv_block(x)


class MesoGenerator(nn.Module):
    """Texture to displacement. The numbering of the layers is the published checkpoint's.

    Args:
        width: channels after the first convolution; 64 in the published weights.
    """

    def __init__(self, width: int = PUBLISHED_WIDTH):
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_norm_relu(width)]
        for level in range(_HALVINGS):
            channels = width * 2**level
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_norm_relu(2 * channels)]
        layers += [ResidualBlock(width * _FACTOR) for _ in range(_BLOCKS)]
        for level in reversed(range(_HALVINGS)):
            channels = width * 2**level
            layers += [
                nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1),
                *_norm_relu(channels),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, texture: Tensor) -> Tensor:
        """Displacement map of a texture.

        Args:
            texture: (B, 3, H, W) red, green, blue in [-1, 1]; H and W divisible by 16, 32 at least.

        Returns:
            (B, 1, H, W) in [-1, 1].

        Raises:
            ValueError: ``texture`` has another shape.
        """
        if texture.ndim != 4 or texture.shape[1] != 3:
            raise ValueError(f"texture must be (B, 3, H, W), got {tuple(texture.shape)}")
        if any(side % _FACTOR or side < 2 * _FACTOR for side in texture.shape[2:]):
            raise ValueError(
                f"texture sides must be divisible by {_FACTOR} and {2 * _FACTOR} at least, "
                f"got {tuple(texture.shape[2:])}"
            )
        return self.model(texture)


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()


def width_of(state: State) -> int | None:
    """The generator's width (``ngf``) that a state has; None where it has none, or one that is too large."""
    shape = state[_WIDTH_FROM].shape if _WIDTH_FROM in state else ()
    return shape[0] if len(shape) == 4 and 0 < shape[0] <= _MAX_WIDTH else None


def _build(state: State) -> MesoGenerator:
    return MesoGenerator(width_of(state) or PUBLISHED_WIDTH)


MESO_GENERATOR = Network("meso_generator", "texture to mesoscopic displacement", _build)
