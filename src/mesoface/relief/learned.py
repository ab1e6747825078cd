"""Relief predicted by the light network."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mesoface.relief.ground import Ground
from mesoface.relief.inputs import make_inputs
from mesoface.relief.light import fit_illumination, light_slopes
from mesoface.relief.network import FACTOR

# Rearranged channels leave a pattern of two texels that training does not see, as slopes are differences over
# two. This is 0 there, and takes a quarter away at twice that period.
_NOTCH = np.array([-1, 4, 10, 4, -1], np.float32) / 16
# Maps are worked through in squares of this side, with so many texels of their neighbours around.
_TILE, _OVERLAP = 1024, 64


def learned_height(ground: Ground, network: nn.Module, device: str) -> NDArray[np.float32]:
    """(M, M) relief as the network says, mm, before the high-pass.

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
