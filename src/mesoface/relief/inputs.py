"""What the relief network looks at: skin colour, how light falls on it, and what was measured of its form.

Everything is per texel and relative: lengths are in texels and colours are ratios, so that neither the
texels' size nor the exposure matters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.files.colour import LUMINANCE, decode_srgb
from mesoface.uvd.maps import blur_masked, blur_wide

HIGH_PASS = 6.0
"""Standard deviation of the Gaussian that is taken away from the predicted relief, texels."""
"""Shares of linear red, green and blue (ITU-R BT.709)."""
DARKEST = 0.004
"""Linear colours below are all as dark: their logarithms are noise."""
CHANNELS = 11
"""Luminance, two ratios of colours, light along columns and rows, the slopes that luminance would stand for
along both if it were all shading, measured relief, how far shading and how far depth explain luminance there,
mask."""

# What is seen of colour and measured form reaches this far, texels.
_REACH = 2 * HIGH_PASS
# Brings the channels to about the same size.
_SCALE = np.array([10, 20, 20, 1, 1, 10, 10, 5, 3, 3], np.float32)
# Correlations between luminance and measured form are taken in a band that both have, over an area; texels.
_BAND, _AREA = 2.5, 24.0
# Below this square of its strength the light says little of slopes.
_DIFFUSE = 0.2


def make_inputs(
    color: NDArray[np.float32],
    light: NDArray[np.float32],
    measured: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Stack the maps that the relief network takes.

    Args:
        color: (H, W, 3) sRGB in [0, 1].
        light: (H, W, 2) relative change of luminance per unit of slope, where slope is the difference of
            heights in texels between neighbouring columns and rows; 0 where nothing is known of the light.
        measured: (H, W) measured height over any smooth ground, texels.
        valid: (H, W) where there is photographed skin.

    Returns:
        (11, H, W) float32, 0 outside of ``valid``.
    """
    linear = np.maximum(decode_srgb(color), DARKEST)
    luminance = np.log(linear @ LUMINANCE)
    red, blue = np.log(linear[..., 0]) - luminance, np.log(linear[..., 2]) - luminance
    local = np.stack([luminance, red, blue, measured], -1).astype(np.float32)
    local -= blur_wide(local, valid, _REACH)
    # A product that convolutions cannot make: with it, shape from shading (Pentland 1990) is linear.
    slope = local[..., :1] * light / (np.square(light).sum(-1, keepdims=True) + _DIFFUSE)
    told = _explained(local[..., 0], light, local[..., 3], valid)
    maps = np.concatenate([local[..., :3], light, slope, local[..., 3:], told], -1) * _SCALE
    maps = np.concatenate([np.clip(maps, -8, 8), np.ones((*valid.shape, 1), np.float32)], -1)
    return np.ascontiguousarray(np.where(valid[..., None], maps, 0).transpose(2, 0, 1), np.float32)


def _explained(
    luminance: NDArray[np.float32],
    light: NDArray[np.float32],
    measured: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """(H, W, 2) correlation of luminance with the shading, and with the depth, of what was measured.

    Where measured form explains what is seen, so will finer form: how much of the luminance is pigment
    differs from face to face and from place to place.
    """
    columns, rows = slopes(measured)
    shading = light[..., 0] * columns + light[..., 1] * rows
    band = blur_masked(np.stack([luminance, shading, measured], -1), valid, _BAND)
    squares = np.concatenate([band**2, band[..., :1] * band[..., 1:]], -1)
    means = blur_wide(squares, valid, _AREA)
    scale = np.sqrt(means[..., :1] * means[..., 1:3]) + 1e-6
    return means[..., 3:] / scale


def high_pass(
    height: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float = HIGH_PASS
) -> NDArray[np.float32]:
    """(H, W) the height without what is smoother than ``sigma`` texels; 0 outside of ``valid``."""
    return np.where(valid, height - blur_masked(height, valid, sigma), 0).astype(np.float32)


def slopes(height: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) heights → (H, W) central differences along columns and along rows, per texel."""
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    border = cv2.BORDER_REPLICATE
    height = np.ascontiguousarray(height, np.float32)
    return (
        cv2.filter2D(height, -1, kernel, borderType=border),
        cv2.filter2D(height, -1, kernel.T, borderType=border),
    )
