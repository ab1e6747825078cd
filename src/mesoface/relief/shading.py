"""Relief without learning: dark is deep (Beeler et al., High-quality single-shot capture of facial geometry,
SIGGRAPH 2010, section 5).

Pits see less of the light around them, so small skin features that are darker than their surroundings are
taken for deeper. Brows, stubble and lips are dark for other reasons: there the effect is damped.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.files.images import LUMINANCE, decode_srgb
from mesoface.relief.inputs import DARKEST, HIGH_PASS, Ground
from mesoface.uvd.maps import blur_masked

# Depth of a spot that is as dark as 1/e of its surroundings, texels: a judgement, fitted to nothing.
_DEPTH = 1.0
# Neighbours that a texel is compared with: rings of eight, radii in texels.
_RINGS = (1.5, 3.0, 5.0)
# Hair and lips, as logarithms of ratios to the skin around: darker and redder than this is half damped.
_HAIR, _HAIR_WIDTH = 0.45, 0.12
_RED, _RED_WIDTH = 0.22, 0.06
# What "around" means, mm, and how far hair and lips are spread to be on the safe side, mm.
_AROUND_MM, _SPREAD_MM = 12.0, 0.6


def shading_height(ground: Ground) -> NDArray[np.float32]:
    """(M, M) relief by "dark is deep", mm, before the high-pass.

    A neighbour counts by its closeness, and less the more it stands above or below the texel's own tangent
    plane: what is darker because the measured form turns away is no pit.

    Args:
        ground: surface and colour.
    """
    linear = np.maximum(decode_srgb(ground.color), DARKEST)
    luminance = np.log(linear @ LUMINANCE)
    luminance = cv2.GaussianBlur(luminance, (0, 0), 0.7)
    total = np.full(luminance.shape, 1e-6, np.float32)
    brighter = np.zeros_like(luminance)
    for column, row in _offsets():
        there = _moved(ground.position, column, row) - ground.position
        distance = np.maximum(np.sqrt(np.einsum("hwk,hwk->hw", there, there)), 1e-6)
        aside = np.abs(np.einsum("hwk,hwk->hw", there, ground.normal)) / distance
        weight = np.exp(-distance / (HIGH_PASS / 2 * ground.texel_mm)) * np.maximum(1 - aside, 0)
        weight *= _moved(ground.valid.astype(np.float32), column, row)
        total += weight
        brighter += weight * (_moved(luminance, column, row) - luminance)
    darkness = brighter / total
    return (-_DEPTH * ground.texel_mm * skin_share(ground) * darkness).astype(np.float32)


def skin_share(ground: Ground) -> NDArray[np.float32]:
    """(M, M) 1 on bare skin, towards 0 on hair and lips: much darker or redder than the skin around."""
    linear = np.maximum(decode_srgb(ground.color), DARKEST)
    luminance = np.log(linear @ LUMINANCE)
    redness = np.log(linear[..., 0]) - np.log(linear[..., 1])
    around = _AROUND_MM / ground.texel_mm
    usual = blur_masked(np.stack([luminance, redness], -1), ground.valid, around)
    hair = _above(usual[..., 0] - luminance, _HAIR, _HAIR_WIDTH)
    lips = _above(redness - usual[..., 1], _RED, _RED_WIDTH)
    other = cv2.GaussianBlur(np.maximum(hair, lips), (0, 0), _SPREAD_MM / ground.texel_mm)
    return np.where(ground.valid, 1 - np.clip(2 * other, 0, 1), 0).astype(np.float32)


def _above(value: NDArray[np.float32], middle: float, width: float) -> NDArray[np.float32]:
    """From 0 far below ``middle`` to 1 far above."""
    return (1 / (1 + np.exp(-np.clip((value - middle) / width, -30, 30)))).astype(np.float32)


def _offsets() -> list[tuple[int, int]]:
    """Columns and rows to the neighbours, each once."""
    angles = np.arange(8) * np.pi / 4
    places = {
        (round(radius * np.cos(angle)), round(radius * np.sin(angle)))
        for radius in _RINGS
        for angle in angles
    }
    return sorted(places)


def _moved(values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
    """The map's value ``column`` columns and ``row`` rows further; at the border the border's."""
    height, width = values.shape[:2]
    rows = np.clip(np.arange(height) + row, 0, height - 1)
    columns = np.clip(np.arange(width) + column, 0, width - 1)
    return values[rows[:, None], columns[None]]
