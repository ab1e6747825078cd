"""The light generator: a small U-Net from skin colour, light and measured form to finer relief."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mesoface.files.weights import Network
from mesoface.relief.inputs import CHANNELS

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
    end by rearranging channels (Shi et al., CVPR 2016). There is no normalisation: how strong the shading is
    tells how deep the relief is.
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
