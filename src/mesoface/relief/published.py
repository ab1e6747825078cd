"""Displacement by the published generator (Xiao et al. 2022), on the window of UV that it was trained on."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mesoface.files.dpmap import FULL_SCALE_MM

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
        network: a :class:`~mesoface.relief.generator.MesoGenerator` in evaluation mode.
        device: torch device.
    """
    texture = cv2.resize(color, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    window = np.ascontiguousarray(texture[slice(*_ROWS), slice(*_COLUMNS)])
    seen = cv2.resize(window, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    maps = torch.as_tensor(seen.transpose(2, 0, 1)[None] * 2 - 1, device=device)
    answer = network.to(device)(maps)[0, 0].float().cpu().numpy() * np.float32(FULL_SCALE_MM)
    whole = np.zeros((SIZE, SIZE), np.float32)
    whole[slice(*_ROWS), slice(*_COLUMNS)] = cv2.resize(
        answer, window.shape[1::-1], interpolation=cv2.INTER_AREA
    )
    interpolation = cv2.INTER_AREA if size < SIZE else cv2.INTER_LINEAR
    return cv2.resize(whole, (size, size), interpolation=interpolation)
