"""Which photo says what where: everything about a texture that does not need its resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.capture import View
from mesoface.mesh import Mesh
from mesoface.texture.consensus import agreement, solve_gains, solve_offsets
from mesoface.texture.lookup import look_up, pixel_map
from mesoface.texture.photo import face_photo
from mesoface.texture.skin import Skin
from mesoface.texture.weights import weigh_views
from mesoface.uvd.maps import blur_masked, dilate, fill_outside

Maps = NDArray[np.float32]

# Side of the maps of colour without detail, texels.
_COLOR_SIZE = 384
# Where colour ends and detail begins: standard deviation of the Gaussian between them, mm.
_SPLIT_MM = 2.5
# Share of the mean weight below which detail fades into the fill.
_FAINT = 0.02
# How far beyond the surface's rim photos are still looked up, in texels of the weights.
_PADDING = 3
# Detail that tells how sharp a photo is has this size, mm; sharpness counts up to this factor.
_SHARP_MM, _SHARPEST = 0.8, 2.0


@dataclass(frozen=True, eq=False)
class TexturePlan:
    """How a texture is put together: ``color + sum of detail[v] * (gains[v] * photo[v] - smooth[v])``.

    Args:
        skin: the surface.
        views: V photos.
        gains: (V, 3) factors between cameras.
        color: (G, G, 3) blended colour without detail, filled everywhere.
        smooth: (V, G, G, 3) colour without detail of each photo, gains applied.
        detail: (V, R, R) each photo's share of the detail; at most 1 in sum, 0 where nothing is seen.
        seen: (R, R) float in [0, 1], how far photos show the texel.
    """

    skin: Skin
    views: tuple[View, ...]
    gains: NDArray[np.float32]
    color: Maps
    smooth: Maps
    detail: Maps
    seen: Maps


def plan_texture(skin: Skin, views: Sequence[View], occluder: Mesh | None = None) -> TexturePlan:
    """Weigh the photos, solve their gains, and blend what is not detail.

    Args:
        skin: the surface.
        views: V photos, V ≥ 1.
        occluder: further surface that hides the face, or None.
    """
    weights = weigh_views(skin, views, occluder)
    coarse = skin.resized(min(_COLOR_SIZE, skin.space.size))
    valid, size, texel_mm = coarse.space.valid, coarse.space.size, coarse.space.texel_mm
    visible = _resize(weights.color, size) * valid
    colors = np.stack([_lay_out(coarse, view) for view in views])
    gains = solve_gains(colors.reshape(len(views), -1, 3), visible.reshape(len(views), -1)).astype(np.float32)
    colors *= gains[:, None, None]
    smooth = np.stack(
        [blur_masked(c, w > 0, _SPLIT_MM / texel_mm) for c, w in zip(colors, visible, strict=True)]
    )
    trusted = visible * agreement(smooth, visible)
    total = trusted.sum(0)
    color = np.einsum("vhw,vhwc->hwc", trusted, smooth) / np.maximum(total, 1e-9)[..., None]
    color = fill_outside(color, total > 1e-3)

    sharpness = _sharpness(colors - smooth, visible, _SHARP_MM / texel_mm)
    rays = weights.detail.shape[1]
    shown = weights.detail * _resize(trusted / np.maximum(visible, 1e-9), rays) * sharpness[:, None, None]
    known = shown.sum(0) > 0
    scale = float(shown.sum(0)[known].mean()) if known.any() else 1.0
    detail = shown / (shown.sum(0) + _FAINT * scale)
    seen = detail.sum(0)
    inside = skin.resized(rays).space.valid
    detail = np.stack([_pad(d, inside) for d in detail])
    return TexturePlan(skin, tuple(views), gains, color, smooth, detail, _pad(seen, inside))


def _lay_out(skin: Skin, view: View) -> Maps:
    """(G, G, 3) a photo on the UV square."""
    space = skin.space
    pixels, camera = face_photo(view, space.position[space.valid], space.texel_mm)
    return np.clip(look_up(pixels, pixel_map(space.position, camera)), 0, 1)


def _sharpness(detail: Maps, weights: Maps, sigma: float) -> NDArray[np.float32]:
    """(V,) how much detail a photo shows against the others on the same skin; 1 in the mean."""
    energy = np.stack(
        [blur_masked((d**2).mean(-1), w > 0, 4 * sigma) for d, w in zip(detail, weights, strict=True)]
    )
    logs = np.log(np.maximum(energy, 1e-6)) / 2
    offsets = solve_offsets(logs.reshape(len(logs), -1), weights.reshape(len(weights), -1), 0.3)
    return np.clip(np.exp(offsets), 1 / _SHARPEST, _SHARPEST).astype(np.float32)


def _resize(maps: Maps, size: int) -> Maps:
    """(V, S, S) → (V, size, size)."""
    return np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps])


def _pad(weight: Maps, inside: NDArray[np.bool_]) -> Maps:
    """A map continued a little beyond the surface: interpolation at the rim must not fade it."""
    return fill_outside(weight, inside) * dilate(inside, _PADDING)
