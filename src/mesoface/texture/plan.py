"""Which photo says what where: everything about a texture that does not need its resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh
from mesoface.texture.consensus import Agreement, find_agreement, solve_gains, solve_offsets
from mesoface.texture.lookup import look_up, pixel_map
from mesoface.texture.photo import face_photo
from mesoface.texture.skin import Skin
from mesoface.texture.weights import ViewWeights, weigh_views
from mesoface.uvd.maps import blur_masked, fill_outside

Maps = NDArray[np.float32]

# Side of the maps of colour without detail, texels.
_COLOR_SIZE = 384
# Where colour ends and detail begins: standard deviation of the Gaussian between them, mm.
_SPLIT_MM = 2.5
# Weight from which on colour is not filled in.
_LEAST = 1e-4
# Share of the mean weight below which detail fades into the fill.
_FAINT = 1e-4
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
    size, texel_mm = coarse.space.size, coarse.space.texel_mm
    visible = _resize(weights.color, size) * coarse.space.valid
    colors = np.stack([_lay_out(coarse, view) for view in views])
    gains = solve_gains(_thin(colors), _thin(visible)).astype(np.float32)
    colors *= gains[:, None, None]
    smooth = np.stack([blur_masked(c, w, _SPLIT_MM / texel_mm) for c, w in zip(colors, visible, strict=True)])
    agreement = find_agreement(smooth, visible)
    sharpness = _sharpness(colors - smooth, visible, _SHARP_MM / texel_mm)
    detail = _share_detail(weights, agreement, sharpness)
    color = _mean(smooth, visible * agreement.factor)
    return TexturePlan(skin, tuple(views), gains, color, smooth, detail, detail.sum(0))


def _mean(colors: Maps, weights: Maps) -> Maps:
    """(H, W, 3) weighted mean of (V, H, W, 3), continued where there is no weight."""
    total = weights.sum(0)
    mean = np.einsum("vhw,vhwc->hwc", weights, colors) / np.maximum(total, 1e-9)[..., None]
    return fill_outside(mean, total > _LEAST)


def _share_detail(weights: ViewWeights, agreement: Agreement, sharpness: NDArray[np.float32]) -> Maps:
    """(V, R, R) each photo's share of the detail; their sum falls from 1 to 0 where none sees anything."""
    size = weights.detail.shape[1]
    # Where photos contradict each other (strands of hair) the best of them is no better than their mean.
    clear = _resize(agreement.clear[None], size)[0]
    shown = weights.detail**clear * weights.color ** (1 - clear)
    shown *= _resize(agreement.factor, size) * sharpness[:, None, None]
    total = shown.sum(0)
    typical = float(total[total > 0].mean()) if total.any() else 1.0
    return shown / (total + _FAINT * typical)


def _lay_out(skin: Skin, view: View) -> Maps:
    """(G, G, 3) a photo on the UV square."""
    space = skin.space
    pixels, camera = face_photo(view, space.position[space.valid], space.texel_mm)
    return np.clip(look_up(pixels, pixel_map(space.position, camera)), 0, 1)


def _sharpness(detail: Maps, weights: Maps, sigma: float) -> NDArray[np.float32]:
    """(V,) how much detail a photo shows against the others on the same skin; 1 in the mean."""
    squared = np.einsum("vhwc,vhwc->vhw", detail, detail) / 3
    energy = np.stack(
        [blur_masked(d, w > 0, 4 * sigma) for d, w in zip(squared, weights, strict=True)],
    )
    logs = np.log(np.maximum(_thin(energy), 1e-6)) / 2
    offsets = solve_offsets(logs, _thin(weights), 0.3)
    return np.clip(np.exp(offsets), 1 / _SHARPEST, _SHARPEST).astype(np.float32)


def _thin(maps: Maps) -> Maps:
    """(V, S, S[, C]) → (V, N[, C]): one texel in nine, plenty for one number a photo."""
    thinned = maps[:, 1::3, 1::3]
    return thinned.reshape(len(maps), -1, *maps.shape[3:])


def _resize(maps: Maps, size: int) -> Maps:
    """(V, S, S) → (V, size, size)."""
    return np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps])
