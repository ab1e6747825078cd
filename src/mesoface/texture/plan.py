"""Everything about a texture that does not need its resolution: which photo counts how much, and where.

What the photos agree on decides: gains between the cameras, and which photo is wrong where. Also the photos
themselves, as sharp as the texture can use, laid onto the UV square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.texture.weights import Skin, weigh_views
from mesoface.uvd.maps import blur_masked, fill_outside
from mesoface.uvd.photos import face_photo

Array = NDArray[np.float64]
Map = NDArray[np.float32]

# Outside of these a channel is clipped or mostly noise, and does not depend on exposure.
_DARK, _BRIGHT = 0.03, 0.97
# Residuals beyond this are shine or occluders, not exposure (logarithm: 0.1 is ten per cent).
_LOG_SCALE = 0.1
_ROUNDS = 8
# Colours that differ from the consensus by more than this are shine or something before the face.
_COLOR_SCALE, _COLOR_START = 0.25, 0.5
# Share of the photos (by weight) that must agree: with fewer it is undecidable which are wrong, from the
# second on it is clear.
_MAJORITY, _CLEAR = 0.65, 0.85


def solve_gains(colors: NDArray, weights: NDArray) -> Array:
    """One factor per photo and channel that makes the photos agree where several see the same texel.

    Robust least squares in logarithms: ``log color[v, n] = surface[n] + log exposure[v]`` with all surfaces
    and exposures unknown. Brown and Lowe (IJCV 2007) solve for gains likewise, from overlaps' means.

    Args:
        colors: (V, N, 3) sRGB in [0, 1]. A gain of linear light is one of sRGB too, to a power.
        weights: (V, N) ≥ 0, 0 where a photo does not see the texel.

    Returns:
        (V, 3) factors to multiply with; their geometric mean over the photos is 1.
    """
    gains = np.ones((len(colors), 3))
    for channel in range(3):
        values = np.asarray(colors[..., channel], np.float64)
        usable = weights * ((values > _DARK) & (values < _BRIGHT))
        offsets = solve_offsets(np.log(np.maximum(values, _DARK)), usable, _LOG_SCALE)
        gains[:, channel] = np.exp(-offsets)
    return gains


def solve_offsets(values: Array, weights: NDArray, scale: float) -> Array:
    """Offsets b in ``values[v, n] = a[n] + b[v]`` by iteratively reweighted least squares (Geman–McClure).

    Args:
        values: (V, N).
        weights: (V, N) ≥ 0.
        scale: residual at which an observation has lost most of its weight.

    Returns:
        (V,) with mean 0; what shares no n with the others stays near 0.
    """
    views = len(values)
    offsets = np.zeros(views)
    trust = np.asarray(weights, np.float64)
    shared = (trust > 0).sum(0) >= 2
    values, trust = values[:, shared], trust[:, shared]
    if not shared.any():
        return offsets
    robust = trust
    for round_ in range(_ROUNDS):
        total = np.maximum(robust.sum(0), 1e-12)
        # The surfaces eliminated: what is left is a V × V Laplacian of the graph of overlaps.
        share = robust / total
        laplacian = np.diag(robust.sum(1)) - robust @ share.T
        right = (robust * (values - (share * values).sum(0))).sum(1)
        tiny = 1e-6 * max(np.trace(laplacian) / views, 1e-12)
        offsets = np.linalg.solve(laplacian + tiny * np.eye(views), right)
        offsets -= offsets.mean()
        left = values - offsets[:, None]
        residual = left - (share * left).sum(0)
        # From nearly plain least squares to the robust estimate: outliers cannot win by being first.
        width = scale * 4 ** max(0.0, 1 - round_ / 3)
        robust = trust / (1 + (residual / width) ** 2) ** 2
    return offsets


@dataclass(frozen=True, eq=False)
class ColorAgreement:
    """How far photos agree about colour.

    Args:
        factor: (V, H, W) in [0, 1], what is left of each photo's weight.
        clear: (H, W) in [0, 1], whether most of them agree: else every factor is 1.
    """

    factor: NDArray[np.float32]
    clear: NDArray[np.float32]


def find_agreement(colors: NDArray, weights: NDArray) -> ColorAgreement:
    """How far each photo's colour is what the photos see in common, texel by texel.

    Shine moves with the camera, and an occluder that the geometry does not have (hair, a hand) covers one
    photo and not the next. With fewer than three photos it is undecidable which one is wrong, and so it is
    where all of them differ (strands of hair).

    Args:
        colors: (V, H, W, 3) without detail, gains applied.
        weights: (V, H, W) ≥ 0.
    """
    weights = np.asarray(weights, np.float32)
    factor = np.ones_like(weights)
    many = (weights > 0).sum(0) >= 3
    for round_ in range(_ROUNDS):
        trust = weights * factor
        mean = np.einsum("vhw,vhwc->hwc", trust, colors) / np.maximum(trust.sum(0), 1e-9)[..., None]
        away = colors - mean
        squared = np.einsum("vhwc,vhwc->vhw", away, away) / 3
        width = _COLOR_SCALE + (_COLOR_START - _COLOR_SCALE) * max(0.0, 1 - round_ / 4)
        factor = np.where(many, 1 / (1 + squared / width**2) ** 2, 1).astype(np.float32)
    agreed = (weights * factor).sum(0) / np.maximum(weights.sum(0), 1e-9)
    clear = np.clip((agreed - _MAJORITY) / (_CLEAR - _MAJORITY), 0, 1).astype(np.float32)
    return ColorAgreement(factor**clear, clear)


# Side of the maps of colour without detail, texels.
_COLOR_SIZE = 384
# Where colour ends and detail begins: standard deviation of the Gaussian between them, mm.
_SPLIT_MM = 2.5
# Weight from which on colour is not filled in.
_LEAST = 1e-4
# Share of the mean weight below which detail fades into the fill.
_FAINT = 1e-4
# Size, mm, of the detail that sharpness is measured on; sharpness counts up to this factor.
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
    color: Map
    smooth: Map
    detail: Map
    seen: Map


def plan_texture(skin: Skin, views: Sequence[View], occluder: Mesh | None = None) -> TexturePlan:
    """Weigh the photos, solve their gains, and blend what is not detail.

    Args:
        skin: the surface.
        views: V photos, V ≥ 1.
        occluder: further surface that hides the face, or None.
    """
    color_weight, detail_weight = weigh_views(skin, views, occluder)
    coarse = skin.resized(min(_COLOR_SIZE, skin.space.size))
    size, texel_mm = coarse.space.size, coarse.space.texel_mm
    visible = _resize(color_weight, size) * coarse.space.valid
    colors = np.stack([_lay_out(coarse, view) for view in views])
    gains = solve_gains(_thin(colors), _thin(visible)).astype(np.float32)
    colors *= gains[:, None, None]
    smooth = np.stack([blur_masked(c, w, _SPLIT_MM / texel_mm) for c, w in zip(colors, visible, strict=True)])
    agreement = find_agreement(smooth, visible)
    sharpness = _sharpness(colors - smooth, visible, _SHARP_MM / texel_mm)
    detail = _share_detail(color_weight, detail_weight, agreement, sharpness)
    color = _mean(smooth, visible * agreement.factor)
    return TexturePlan(skin, tuple(views), gains, color, smooth, detail, detail.sum(0))


def _mean(colors: Map, weights: Map) -> Map:
    """(H, W, 3) weighted mean of (V, H, W, 3), continued where there is no weight."""
    total = weights.sum(0)
    mean = np.einsum("vhw,vhwc->hwc", weights, colors) / np.maximum(total, 1e-9)[..., None]
    return fill_outside(mean, total > _LEAST)


def _share_detail(
    color_weight: Map, detail_weight: Map, agreement: ColorAgreement, sharpness: NDArray[np.float32]
) -> Map:
    """(V, R, R) each photo's share of the detail; their sum falls from 1 to 0 where none sees anything."""
    size = detail_weight.shape[1]
    # Where photos contradict each other (strands of hair) the best of them is no better than their mean.
    clear = _resize(agreement.clear[None], size)[0]
    shown = detail_weight**clear * color_weight ** (1 - clear)
    shown *= _resize(agreement.factor, size) * sharpness[:, None, None]
    total = shown.sum(0)
    typical = float(total[total > 0].mean()) if total.any() else 1.0
    return shown / (total + _FAINT * typical)


def _lay_out(skin: Skin, view: View) -> Map:
    """(G, G, 3) a photo on the UV square."""
    space = skin.space
    pixels, camera = face_photo(view, space.position[space.valid], space.texel_mm)
    return np.clip(look_up(pixels, pixel_map(space.position, camera)), 0, 1)


def _sharpness(detail: Map, weights: Map, sigma: float) -> NDArray[np.float32]:
    """(V,) how much detail a photo shows against the others on the same skin; 1 in the mean."""
    squared = np.einsum("vhwc,vhwc->vhw", detail, detail) / 3
    energy = np.stack([blur_masked(d, w > 0, 4 * sigma) for d, w in zip(squared, weights, strict=True)])
    logs = np.log(np.maximum(_thin(energy), 1e-6)) / 2
    offsets = solve_offsets(logs, _thin(weights), 0.3)
    return np.clip(np.exp(offsets), 1 / _SHARPEST, _SHARPEST).astype(np.float32)


def _thin(maps: Map) -> Map:
    """(V, S, S[, C]) → (V, N[, C]): one texel in nine, plenty for one number a photo."""
    thinned = maps[:, 1::3, 1::3]
    return thinned.reshape(len(maps), -1, *maps.shape[3:])


def _resize(maps: Map, size: int) -> Map:
    """(V, S, S) → (V, size, size)."""
    return np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps])


def pixel_map(position: Map, camera: Camera) -> Map:
    """(S, S, 2) where the points of a position map (S, S, 3) lie in the photo, pixels; far off if nowhere."""
    pixels, _ = camera.project(position)
    return np.nan_to_num(pixels, nan=-1e6).clip(-1e6, 1e6).astype(np.float32)


def enlarge_rows(values: Map, rows: range, size: int) -> Map:
    """Rows of a square map enlarged to ``size``², linearly, texel centres at half-integers.

    Args:
        values: (S, S) or (S, S, C).
        rows: which rows of the enlarged map.
        size: its side.

    Returns:
        (len(rows), size[, C]).
    """
    old = len(values)
    at = np.clip((np.arange(rows.start, rows.stop) + 0.5) * (old / size) - 0.5, 0, old - 1)
    above = np.floor(at).astype(int)
    below = np.minimum(above + 1, old - 1)
    share = (at - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    band = values[above] * (1 - share) + values[below] * share
    return cv2.resize(band, (size, len(rows)), interpolation=cv2.INTER_LINEAR)


def look_up(photo: Map, pixels: Map) -> Map:
    """Colours of a photo (h, w, 3) at (H, W, 2) pixels, bicubic; beyond its edge the edge's."""
    return cv2.remap(photo, pixels, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
