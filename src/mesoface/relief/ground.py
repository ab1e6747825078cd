"""The measured surface and its colour as the mesoscopic stage sees them: maps of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.relief.inputs import HIGH_PASS
from mesoface.texture import Texture
from mesoface.uvd.fine_surface import FineSurface
from mesoface.uvd.maps import blur_wide, erode, fill_outside, resize_map, smooth_form
from mesoface.uvd.space import UVDSpace, surface_normals

SMALLEST, LARGEST = 256, 2048
"""Sides that maps of predicted relief may have, texels."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What relief is predicted on.

    Args:
        position: (M, M, 3) mm, the measured surface, continued beyond it.
        form: (M, M, 3) mm, the same without what is finer than the high-pass.
        normal: (M, M, 3) unit, of ``form``.
        color: (M, M, 3) sRGB in [0, 1].
        valid: (M, M) measured skin that photos show.
        texel_mm: side of a square as large as the median texel, mm.
    """

    position: NDArray[np.float32]
    form: NDArray[np.float32]
    normal: NDArray[np.float32]
    color: NDArray[np.float32]
    valid: NDArray[np.bool_]
    texel_mm: float

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.valid.shape[0]

    def measured_height(self) -> NDArray[np.float32]:
        """(M, M) measured relief over a ground that is smoother still, texels."""
        smooth = fill_outside(blur_wide(self.position, self.valid, 2 * HIGH_PASS), self.valid)
        return np.einsum("hwk,hwk->hw", self.position - smooth, self.normal) / np.float32(self.texel_mm)


def relief_size(fine: FineSurface, views: Sequence[View], texture_size: int) -> int:
    """Side of the map of predicted relief: the power of two whose texels are just finer than the photos'
    pixels.

    What is finer than a pixel no photo shows, so there is nothing to predict it from.

    Args:
        fine: the measured surface.
        views: the photos.
        texture_size: side of the texture, which is never enlarged.
    """
    points = fine.space.position[fine.kept]
    middle = np.median(points, axis=0)
    pixel = np.median([np.linalg.norm(v.camera.center - middle) / v.camera.K[0, 0] for v in views])
    wanted = fine.space.size * fine.space.texel_mm / max(float(pixel), 1e-3)
    size = 2 ** int(np.ceil(np.log2(max(wanted, 1))))
    return int(np.clip(size, SMALLEST, min(LARGEST, 2 ** int(np.log2(texture_size)))))


def make_ground(fine: FineSurface, texture: Texture, size: int) -> Ground:
    """Bring surface and colour to maps of ``size``².

    Args:
        fine: the measured surface.
        texture: its colour.
        size: side of the maps, texels.
    """
    measured = np.where(fine.kept[..., None], fine.space.displaced(fine.displacement), 0)
    position = resize_map(measured, fine.kept, size)
    shown = _resized(fine.kept, size) & _resized(texture.seen, size)
    # At the rim the measured surface is at its worst, and its colour is the background's neighbour.
    valid = erode(shown, 2)
    form = smooth_form(position, valid, HIGH_PASS)
    outward = resize_map(fine.space.normal, np.ones_like(fine.kept), size)
    interpolation = cv2.INTER_AREA if size < texture.size else cv2.INTER_LINEAR
    color = cv2.resize(texture.color, (size, size), interpolation=interpolation)
    across, down = np.gradient(form, axis=1)[valid], np.gradient(form, axis=0)[valid]
    area = np.linalg.norm(np.cross(across, down), axis=-1)
    texel = float(np.sqrt(np.median(area))) if len(area) else UVDSpace(position, outward, shown).texel_mm
    return Ground(position, form, surface_normals(form, outward), color, valid, texel)


def _resized(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    return resize_map(mask.astype(np.float32), np.ones_like(mask), size) > 0.5
