"""What relief is predicted from: maps of the surface, its colour, and how light falls on it.

What the network looks at is per texel and relative: lengths are in texels and colours are ratios, so that
neither the texels' size nor the exposure matters.

A distant environment lights matt skin nearly as spherical harmonics of second order (Ramamoorthi and
Hanrahan, An efficient representation for irradiance environment maps, SIGGRAPH 2001). Nine numbers are fitted
to the whole face; only how luminance changes as the skin tilts is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.files.images import LUMINANCE, decode_srgb
from mesoface.texture import Texture
from mesoface.uvd.maps import (
    blur_masked,
    blur_wide,
    erode,
    fill_outside,
    resize_map,
    resize_mask,
    smooth_form,
)
from mesoface.uvd.photos import file_camera, typical_footprint
from mesoface.uvd.space import FineSurface, UVDSpace, surface_normals

HIGH_PASS = 6.0
"""Standard deviation of the Gaussian that is taken away from the predicted relief, texels."""
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
# Below this square of its strength the light depends little on slopes.
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
    explained = _explained(local[..., 0], light, local[..., 3], valid)
    maps = np.concatenate([local[..., :3], light, slope, local[..., 3:], explained], -1) * _SCALE
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
    kernel, height = np.array([[-0.5, 0, 0.5]], np.float32), np.ascontiguousarray(height, np.float32)
    columns, rows = (cv2.filter2D(height, -1, k, borderType=cv2.BORDER_REPLICATE) for k in (kernel, kernel.T))
    return columns, rows


# Texels that the fit looks at.
_SAMPLES = 40_000
_ROUNDS = 20
# Below this share of the usual light a fit means nothing, least of all in shadow.
_DIMMEST = 0.15


@dataclass(frozen=True, eq=False)
class Illumination:
    """Light of a distant environment on matt skin.

    Args:
        harmonics: (9,) real spherical harmonics of order 0 to 2, unnormalised; 1, x, y, z, xy, yz, xz, 3z² -
            1, x² - y².
        spread: robust standard deviation of what the skin's luminance is beside it, as a ratio: its pigments,
            shadows and highlights.
    """

    harmonics: NDArray[np.float64]
    spread: float

    def luminance(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 3) unit normals → (...,) luminance of even skin; the median of the face is about 1."""
        h = self.harmonics.astype(np.float32)
        x, y, z = np.moveaxis(normals, -1, 0)
        light = h[0] + x * (h[1] + h[4] * y + h[6] * z + h[8] * x) + y * (h[2] + h[5] * z - h[8] * y)
        return np.maximum(light + z * h[3] + h[7] * (3 * z * z - 1), np.float32(_DIMMEST))

    def log_gradient(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 3) unit normals → (..., 3) gradient of the luminance's logarithm as the normal turns."""
        h = self.harmonics.astype(np.float32)
        x, y, z = np.moveaxis(normals, -1, 0)
        along_x = h[1] + h[4] * y + h[6] * z + 2 * h[8] * x
        along_y = h[2] + h[4] * x + h[5] * z - 2 * h[8] * y
        along_z = h[3] + h[5] * y + h[6] * x + 6 * h[7] * z
        return np.stack([along_x, along_y, along_z], -1) / self.luminance(normals)[..., None]


def fit_illumination(
    color: NDArray[np.float32], normals: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Illumination | None:
    """Fit the light to the whole face, as if it had one colour; what does not fit counts little.

    Args:
        color: (H, W, 3) sRGB in [0, 1].
        normals: (H, W, 3) unit, of the measured form.
        valid: (H, W) skin that photos show.

    Returns:
        None where too little skin is visible.
    """
    index = np.flatnonzero(valid)
    if len(index) < 1000:
        return None
    index = index[:: max(1, len(index) // _SAMPLES)]
    luminance = np.maximum(decode_srgb(color.reshape(-1, 3)[index]) @ LUMINANCE, DARKEST)
    luminance = luminance / np.median(luminance)
    basis = _basis(normals.reshape(-1, 3)[index])
    # Ratios count, not differences; and a face shows half of all directions, hence the small ridge.
    weight, ridge = 1 / luminance, 1e-3 * len(index) * np.diag([0, 1, 1, 1, 1, 1, 1, 1, 1])
    harmonics, spread = np.zeros(9), 1.0
    for _ in range(_ROUNDS):
        weighted = basis * np.square(weight)[:, None]
        harmonics = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ luminance)
        error = np.log(np.maximum(basis @ harmonics, _DIMMEST)) - np.log(luminance)
        spread = max(float(1.48 * np.median(np.abs(error))), 1e-3)
        weight = 1 / luminance / np.sqrt(1 + (error / (1.5 * spread)) ** 2)
    return Illumination(harmonics, spread) if harmonics[0] > 0 else None


def light_slopes(
    light: Illumination | None, position: NDArray[np.float32], normals: NDArray[np.float32], texel: float
) -> NDArray[np.float32]:
    """How luminance changes with the slope of relief, everywhere on the face.

    Args:
        light: see :func:`fit_illumination`; None where nothing is known.
        position: (H, W, 3) mm, smooth, continued beyond the skin.
        normals: (H, W, 3) unit, smooth.
        texel: size of a texel, mm, that relief is measured in.

    Returns:
        (H, W, 2) relative change of luminance per height difference, in texels, between neighbouring columns
        and between neighbouring rows.
    """
    if light is None:
        return np.zeros((*position.shape[:2], 2), np.float32)
    across, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    # Slopes of relief along the surface: the inverse metric takes differences along texels to a direction.
    e, f, g = _dot(across, across), _dot(across, down), _dot(down, down)
    determinant = np.maximum(e * g - f * f, 1e-6 * texel**4)
    gradient = light.log_gradient(normals)
    change = _dot(gradient, across), _dot(gradient, down)
    # The normal leans against the slope.
    columns = -(g * change[0] - f * change[1]) / determinant * texel
    rows = -(e * change[1] - f * change[0]) / determinant * texel
    return np.clip(np.stack([columns, rows], -1), -4, 4).astype(np.float32)


def _basis(normals: NDArray) -> NDArray[np.float64]:
    """(..., 3) unit normals → (..., 9)."""
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y], -1)


def _dot(a: NDArray, b: NDArray) -> NDArray:
    """(..., 3), (..., 3) → (...,)."""
    return np.einsum("...k,...k->...", a, b)


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
        return _dot(self.position - smooth, self.normal) / np.float32(self.texel_mm)


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
    pixel = typical_footprint([file_camera(view) for view in views], middle)
    wanted = fine.space.size * fine.space.texel_mm / max(pixel, 1e-3)
    size = 2 ** int(np.ceil(np.log2(max(wanted, 1))))
    return int(np.clip(size, SMALLEST, min(LARGEST, 2 ** int(np.log2(texture_size)))))


def make_ground(
    fine: FineSurface, texture: Texture, size: int, where: NDArray[np.bool_] | None = None
) -> Ground:
    """Bring surface and colour to maps of ``size``².

    Args:
        fine: the measured surface.
        texture: its colour.
        size: side of the maps, texels.
        where: (H, H) texels that relief may be predicted on; None: all of the surface.
    """
    skin = fine.kept if where is None else where & fine.kept
    measured = np.where(fine.kept[..., None], fine.space.displaced(fine.displacement), 0)
    position = resize_map(measured, fine.kept, size)
    shown = resize_mask(skin, size) & resize_mask(texture.seen, size)
    # At the rim the measured surface is at its worst, and its colour is the background's neighbour.
    valid = erode(shown, 2)
    form = smooth_form(position, valid, HIGH_PASS)
    outward = resize_map(fine.space.normal, None, size)
    interpolation = cv2.INTER_AREA if size < texture.size else cv2.INTER_LINEAR
    color = cv2.resize(texture.color, (size, size), interpolation=interpolation)
    across, down = np.gradient(form, axis=1)[valid], np.gradient(form, axis=0)[valid]
    area = np.linalg.norm(np.cross(across, down), axis=-1)
    texel = float(np.sqrt(np.median(area))) if len(area) else UVDSpace(position, outward, shown).texel_mm
    return Ground(position, form, surface_normals(form, outward), color, valid, texel)
