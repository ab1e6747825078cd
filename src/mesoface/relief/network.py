"""Networks that predict relief, ours and the published one, and how they are applied to a surface."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mesoface.files.maps import FULL_SCALE_MM  # its answer of 1
from mesoface.files.weights import Network, State
from mesoface.relief.inputs import CHANNELS, Ground, fit_illumination, light_slopes, make_inputs

FACTOR = 8
"""Sides of the maps must be divisible by this."""
_WIDTHS = (40, 64, 96)
# First predictions are small: an untrained network adds next to nothing.
_FIRST = 0.1


class _Residual(nn.Module):
    """x + two 3×3 convolutions of it: (B, width, h, w) → the same."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → (B, width, h, w)."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class ReliefGenerator(nn.Module):
    """Image-to-image generator: :func:`mesoface.relief.inputs.make_inputs` to relief in texels.

    It works at half the maps' resolution and below (2, 4 and 8 texels), and returns to full resolution at the
    end by rearranging channels (Shi et al., CVPR 2016). There is no normalisation, because the strength of
    the shading depends on the depth of the relief.
    """

    def __init__(self) -> None:
        super().__init__()
        first, middle, last = _WIDTHS
        self.enter = nn.Conv2d(4 * CHANNELS, first, 3, padding=1)
        self.fine = nn.Sequential(_Residual(first), _Residual(first))
        self.to_middle = nn.Conv2d(first, middle, 2, stride=2)
        self.middle = nn.Sequential(_Residual(middle), _Residual(middle))
        self.to_last = nn.Conv2d(middle, last, 2, stride=2)
        self.last = nn.Sequential(_Residual(last), _Residual(last), _Residual(last))
        self.from_last = nn.Conv2d(last, middle, 1)
        self.middle_again = _Residual(middle)
        self.from_middle = nn.Conv2d(middle, first, 1)
        self.fine_again = nn.Sequential(_Residual(first), _Residual(first))
        self.leave = nn.Conv2d(first, 4, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Relief, before anything smooth is taken away from it.

        Args:
            maps: (B, 11, H, W); H and W divisible by 8.

        Returns:
            (B, 1, H, W) heights in texels, outward positive.

        Raises:
            ValueError: ``maps`` has another shape.
        """
        if maps.ndim != 4 or maps.shape[1] != CHANNELS or any(side % FACTOR for side in maps.shape[2:]):
            raise ValueError(
                f"maps must be (B, {CHANNELS}, H, W), sides divisible by {FACTOR}, got {tuple(maps.shape)}"
            )
        fine = self.fine(self.enter(functional.pixel_unshuffle(maps, 2)))
        middle = self.middle(self.to_middle(fine))
        last = self.last(self.to_last(middle))
        middle = self.middle_again(middle + _doubled(self.from_last(last)))
        fine = self.fine_again(fine + _doubled(self.from_middle(middle)))
        return _FIRST * functional.pixel_shuffle(self.leave(functional.relu(fine)), 2)


def _doubled(x: Tensor) -> Tensor:
    """(B, C, h, w) → (B, C, 2h, 2w)."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


RELIEF_GENERATOR = Network(
    "relief_generator", "texture, light and form to mesoscopic relief", lambda _: ReliefGenerator()
)


# Rearranged channels leave a pattern of two texels that training does not see, as slopes are differences over
# two. This is 0 there, and takes a quarter away at twice that period.
_NOTCH = np.array([-1, 4, 10, 4, -1], np.float32) / 16
# Maps are worked through in squares of this side, with so many texels of their neighbours around.
_TILE, _OVERLAP = 1024, 64


def learned_height(ground: Ground, network: nn.Module, device: str) -> NDArray[np.float32]:
    """(M, M) relief as the network predicts it, mm, before the high-pass.

    Args:
        ground: surface and colour.
        network: a :class:`~mesoface.relief.network.ReliefGenerator` in evaluation mode.
        device: torch device.
    """
    light = fit_illumination(ground.color, ground.normal, ground.valid)
    slopes = light_slopes(light, ground.form, ground.normal, ground.texel_mm)
    maps = make_inputs(ground.color, slopes, ground.measured_height(), ground.valid)
    height = _in_tiles(maps, ground.valid, network.to(device), device)
    return cv2.sepFilter2D(height, -1, _NOTCH, _NOTCH) * np.float32(ground.texel_mm)


@torch.inference_mode()
def _in_tiles(
    maps: NDArray[np.float32], valid: NDArray[np.bool_], network: nn.Module, device: str
) -> NDArray[np.float32]:
    """(C, M, M) maps → (M, M), tile by tile where there is skin."""
    size = valid.shape[0]
    height = np.zeros((size, size), np.float32)
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    if not len(rows):
        return height
    for top in range(rows[0], rows[-1] + 1, _TILE):
        for left in range(columns[0], columns[-1] + 1, _TILE):
            down, right = min(top + _TILE, rows[-1] + 1), min(left + _TILE, columns[-1] + 1)
            y, x = _window(top, down, size), _window(left, right, size)
            tile = torch.as_tensor(np.ascontiguousarray(maps[:, y, x]), device=device)[None]
            answer = network(tile.contiguous(memory_format=torch.channels_last))[0, 0].float().cpu().numpy()
            inner = slice(top - y.start, down - y.start), slice(left - x.start, right - x.start)
            height[top:down, left:right] = answer[inner]
    return height


def _window(first: int, end: int, size: int) -> slice:
    """The texels from ``first`` to ``end`` with some around, as many as the network can halve."""
    first = max(0, first - _OVERLAP) // FACTOR * FACTOR
    return slice(first, min(size, -(-(end + _OVERLAP) // FACTOR) * FACTOR))


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


MESO_GENERATOR = Network(
    "meso_generator",
    "texture to mesoscopic displacement",
    lambda state: MesoGenerator(width_of(state) or PUBLISHED_WIDTH),
)


SIZE = 1024
"""Side of texture and displacement as the generator sees them, texels."""
# The window: rows and columns of a texture of 1024² over the unit square.
_ROWS, _COLUMNS = (12, 962), (38, 988)


@torch.inference_mode()
def published_height(
    color: NDArray[np.float32], size: int, network: nn.Module, device: str
) -> NDArray[np.float32]:
    """(size, size) mm, 0 outside of the window.

    The texture is cropped and enlarged to 1024²; the answer goes back to the window. In FaceScape's own
    layout that is 1900² texels of 4096², pasted at row 600 and column 1100: our unit square is the published
    crop of it.

    Args:
        color: (T, T, 3) sRGB in [0, 1] over the unit square.
        size: side of the map to make, texels.
        network: a :class:`~mesoface.relief.network.MesoGenerator` in evaluation mode.
        device: torch device.
    """
    window = slice(*_ROWS), slice(*_COLUMNS)
    texture = np.ascontiguousarray(cv2.resize(color, (SIZE, SIZE), interpolation=cv2.INTER_AREA)[window])
    seen = cv2.resize(texture, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    maps = torch.as_tensor(seen.transpose(2, 0, 1)[None] * 2 - 1, device=device)
    answer = network.to(device)(maps)[0, 0].float().cpu().numpy() * np.float32(FULL_SCALE_MM)
    whole = np.zeros((SIZE, SIZE), np.float32)
    whole[window] = cv2.resize(answer, texture.shape[1::-1], interpolation=cv2.INTER_AREA)
    interpolation = cv2.INTER_AREA if size < SIZE else cv2.INTER_LINEAR
    return cv2.resize(whole, (size, size), interpolation=interpolation)
