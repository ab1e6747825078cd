"""By how much each photo is shifted against the others on the measured surface, window by window.

On a rigid face all views show the same texture on the measured surface. Where one view shows it shifted, the
shift has one of three causes. An error of the surface shifts each view along its own parallax, all by one
displacement. An error of a camera shifts the whole of its photo as a rigid movement would. What neither
explains is movement of the skin. Shifts are found by image alignment (Lucas and Kanade, 1981) with the mean
of the other views; the causes are separated by iteratively reweighted least squares (Holland and Welsch,
1977).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.matching.ncc import look_up_pixels, project_texels
from mesoface.uvd.maps import blur_masked
from mesoface.uvd.photos import resample_photo
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import SEEN

Map = NDArray[np.float32]
Array = NDArray[np.float64]

STRIDE = 4
"""Texels from window to window."""
WINDOW_MM = 5.0
"""Standard deviation of the Gaussian windows."""
LEAST_VIEWS = 3
"""With fewer views that see a window it is not decidable which of them moved."""

# Noise of single texels is blurred away over so many texels; over so many mm brightness is evened out, and
# contrast.
_FINE_TEXELS, _EVEN_MM, _CONTRAST_MM = 0.8, 4.0, 8.0
_CONTRAST_FLOOR = 0.002
_OVERSAMPLE = 1.5
# With fewer other views (sum of visibility) a view is not compared.
_LEAST_OTHERS = 0.3
# A window counts from this share on that is compared.
_LEAST_SHARE = 0.02
# Least variance of the noise, of a texture of variance 1; to that of the window comes a share of the median.
_LEAST_NOISE, _COMMON_NOISE = 1e-4, 0.3
# Standard deviations: of the surface's error, mm; of the six parameters of a camera's error, mm (of rotations
# at a lever from the middle of the face); of movement, pixels.
_SURFACE_MM, _CAMERA_MM, _MOVEMENT_PX = 0.5, 0.3, 0.5
_LEVER_MM = 100.0
# A view counts less from a shift of so many standard deviations on when surface and cameras are estimated.
_ROBUST = 2.5
# Comparisons and steps of least squares in each. A view has half its weight in the next mean where its shift
# is so many standard deviations.
_ROUNDS, _STEPS, _DOUBTED = 4, 4, 1.3
# A view is not noisier than so many times the median view, and a window not noisier in one view than so many
# times in most: what is more has moved.
_NOISIEST, _NOISIEST_WINDOW = 1.5, 2.0
# Quantile of the views that says how well a window fits any view. Below the median: several may have moved.
_USUAL = 0.35


@dataclass(frozen=True, eq=False)
class Windows:
    """Each view against the mean of the others, window by window.

    Args:
        information: (V, h, w, 2, 2) of its shift, 1/pixel², at a noise that one factor a view is missing in.
        pull: (V, h, w, 2) information × shift.
        weight: (V, h, w) share of the window that it sees together with others.
        agreement: (V, h, w) correlation.
        known: (V, h, w) whether it is compared at all.
    """

    information: Array
    pull: Array
    weight: Array
    agreement: Array
    known: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Shifts:
    """What of the shifts neither the surface nor the cameras explain.

    Args:
        windows: what the views show.
        length_px: (V, h, w) pixels of the view's photo.
        length_mm: (V, h, w) across its line of sight.
        sigmas: (V, h, w) in standard deviations of the noise of its view and of its window.
    """

    windows: Windows
    length_px: Array
    length_mm: Array
    sigmas: Array


@dataclass(frozen=True, eq=False)
class _Geometry:
    """By how many pixels a photo shifts in each window.

    Args:
        texel: (V, h, w, 2, 2) for a texel along the surface, right and down.
        slide: (V, h, w, 2) texels that a photo slides over the surface for a mm of displacement.
        body: (V, h, w, 2, 6) for a mm of a rigid movement of the whole face, in camera axes: translations,
            and rotations about its middle, mm at ``_LEVER_MM``.
        pixel_mm: (V, h, w) what a pixel spans.
    """

    texel: Array
    slide: Array
    body: Array
    pixel_mm: Array


def windows_of(size: int) -> tuple[slice, slice]:
    """Where windows have their middle."""
    each = slice(STRIDE // 2, size, STRIDE)
    return each, each


def estimate_shifts(views: Sequence[View], space: UVDSpace, sees: Map) -> Shifts:
    """Compare each view with the mean of the others, and again with one in which what moved counts little.

    Args:
        views: V photos.
        space: the measured surface, (S, S); S is a multiple of ``STRIDE``.
        sees: (V, S, S) in [0, 1] how well each view sees each texel.

    Returns:
        the shifts in the windows at :func:`windows_of`.
    """
    skins = np.stack(list(_even_skins(views, space, sees)))
    geometry = _measure_geometry(views, space)
    weights, cameras = sees, None
    for number in range(_ROUNDS):
        windows = _align(skins, sees, weights, geometry, WINDOW_MM / space.texel_mm)
        in_mean = weights[:, *windows_of(space.size)].astype(np.float64)
        shifts, sigmas, cameras = _separate(windows, geometry, in_mean, cameras)
        if number + 1 < _ROUNDS:
            trust = (1 / (1 + (sigmas / _DOUBTED) ** 2)).astype(np.float32)
            weights = sees * np.stack([cv2.resize(t, sees.shape[1:]) for t in trust])
    length = np.linalg.norm(shifts, axis=-1)
    return Shifts(windows, length, length * geometry.pixel_mm, sigmas)


def _even_skins(views: Sequence[View], space: UVDSpace, sees: Map) -> Iterator[Map]:
    """(S, S) texture of each view, brightness and contrast evened out."""
    points = space.position[space.valid]
    for view, seen in zip(views, sees > 0, strict=True):
        pixels, camera = resample_photo(view.luminance, view.camera, points, space.texel_mm, _OVERSAMPLE, 1.0)
        skin = look_up_pixels(pixels, *project_texels(space, camera.P), 0.0)
        skin = cv2.GaussianBlur(skin, (0, 0), _FINE_TEXELS)
        skin = skin - blur_masked(skin, seen, _EVEN_MM / space.texel_mm)
        power = blur_masked(skin * skin, seen, _CONTRAST_MM / space.texel_mm)
        yield skin / np.sqrt(power + _CONTRAST_FLOOR**2)


def _measure_geometry(views: Sequence[View], space: UVDSpace) -> _Geometry:
    part = windows_of(space.size)
    smooth = blur_masked(space.position, space.valid, 1.5)
    tangents = np.stack([np.gradient(smooth, axis=1), np.gradient(smooth, axis=0)], -1)[part].astype(
        np.float64
    )
    points, normals = space.position[part].astype(np.float64), space.normal[part].astype(np.float64)
    middle = space.position[space.valid].mean(0).astype(np.float64)
    each = []
    for view in views:
        camera = view.camera
        x = camera.to_camera(points.reshape(-1, 3)).reshape(points.shape)
        depth, focal = x[..., 2], camera.K[[0, 1], [0, 1]]
        in_camera = np.zeros((*depth.shape, 2, 3))  # pixels for a mm along the camera's axes
        in_camera[..., [0, 1], [0, 1]] = focal / depth[..., None]
        in_camera[..., 2] = -focal * x[..., :2] / depth[..., None] ** 2
        in_world = in_camera @ camera.R
        texel = in_world @ tangents
        a, b, c, d = texel[..., 0, 0], texel[..., 0, 1], texel[..., 1, 0], texel[..., 1, 1]
        rise = np.einsum("hwik,hwk->hwi", in_world, normals)
        flat = np.abs(a * d - b * c) < 1e-4 * np.abs(texel).max()  # seen edge-on
        area = np.where(flat, np.inf, a * d - b * c)
        slide = np.stack([d * rise[..., 0] - b * rise[..., 1], a * rise[..., 1] - c * rise[..., 0]], -1)
        lever = (x - camera.to_camera(middle[None])[0]) / _LEVER_MM
        turns = np.cross(np.eye(3), lever[..., None, :]).swapaxes(-1, -2)  # (h, w, 3, 3): columns ω × lever
        body = np.concatenate([in_camera, in_camera @ turns], -1)
        each.append((texel, slide / area[..., None], body, depth / focal.mean()))
    return _Geometry(*(np.stack(values) for values in zip(*each, strict=True)))


def _align(skins: Map, sees: Map, weights: Map, geometry: _Geometry, sigma: float) -> Windows:
    """One step of image alignment of each view with the mean of the others, weighed by ``weights``."""
    cells = (sees.shape[2] // STRIDE, sees.shape[1] // STRIDE)
    total, summed = weights.sum(0), (weights * skins).sum(0)
    enough = (sees > SEEN).sum(0) >= LEAST_VIEWS

    def window(x: Map) -> Array:
        mean = cv2.resize(x.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(mean, (0, 0), sigma / STRIDE).astype(np.float64)

    each = []
    for v, (skin, seen, weight) in enumerate(zip(skins, sees, weights, strict=True)):
        others = total - weight
        mean = (summed - weight * skin) / np.maximum(others, 1e-3)
        shared = seen * np.minimum(others, 1) * (others > _LEAST_OTHERS) * enough
        both, own, power = window(shared * skin * mean), window(shared * skin**2), window(shared * mean**2)
        share = np.maximum(window(shared), 1e-6)
        contrast = np.clip(both / np.maximum(power, 1e-6), 0.2, 1.5).astype(np.float32)
        expected = mean * cv2.resize(contrast, mean.shape)
        rest = skin - expected
        right, down = np.gradient(expected, axis=1), np.gradient(expected, axis=0)
        cross = window(shared * right * down)
        known = np.stack([window(shared * right**2), cross, cross, window(shared * down**2)], -1)
        known = known.reshape(*share.shape, 2, 2)
        pull = np.stack([window(shared * right * rest), window(shared * down * rest)], -1)
        # Noise is what is left after the shift, or shifts would hide behind what they cause.
        explained = np.einsum("hwi,hwij,hwj->hw", pull, _inverse(known), pull)
        noise = np.maximum((window(shared * rest**2) - explained) / share, _LEAST_NOISE)
        inside = share > _LEAST_SHARE
        texel = geometry.texel[v]
        inside &= np.isfinite(geometry.slide[v]).all(-1) & (np.abs(np.linalg.det(texel)) > 1e-4)
        # From texels to pixels of the photo, where noise and corrections of cameras are alike everywhere.
        back = np.linalg.inv(np.where(inside[..., None, None], texel, np.eye(2)))
        known = back.swapaxes(-1, -2) @ known @ back
        pull = np.einsum("hwji,hwj->hwi", back, pull)
        agreement = both / np.sqrt(np.maximum(own * power, 1e-9))
        each.append((known, pull, share, agreement, inside, noise))
    known, pull, share, agreement, inside, noise = (np.stack(x) for x in zip(*each, strict=True))
    noise = np.minimum(noise, _NOISIEST_WINDOW * quantile_of_views(noise, inside, _USUAL))
    common = [np.median(n[i]) if i.any() else 1.0 for n, i in zip(noise, inside, strict=True)]
    scale = (inside / (noise + _COMMON_NOISE * np.reshape(common, (-1, 1, 1))))[..., None]
    return Windows(known * scale[..., None], pull * scale, share, agreement, inside)


def _inverse(matrices: Array) -> Array:
    """(..., 2, 2) inverses, kept regular."""
    level = np.trace(matrices, axis1=-2, axis2=-1)[..., None, None]
    return np.linalg.inv(matrices + (1e-2 * level + 1e-9) * np.eye(2))


def _separate(
    windows: Windows, geometry: _Geometry, weights: Array, before: Array | None
) -> tuple[Array, Array, Array]:
    """Take from the shifts what errors of the surface and of the cameras explain.

    Args:
        windows: the shifts.
        geometry: of the windows.
        weights: (V, h, w) of each view in the mean.
        before: (V, 6) errors of the cameras as they were last estimated, or None.

    Returns:
        (V, h, w, 2) movement, pixels; (V, h, w) in standard deviations; (V, 6) errors of the cameras.
    """
    information, pull, known = windows.information, windows.pull, windows.known
    # Relative to the mean of the others, of which the shift is measured.
    slid, total = weights[..., None] * geometry.slide, weights.sum(0)[..., None]
    others = (slid.sum(0) - slid) / np.maximum(total - weights[..., None], 1e-3)
    slide = np.einsum("vhwij,vhwj->vhwi", geometry.texel, geometry.slide - others) * known[..., None]
    inverse = _inverse(information)
    along = np.einsum("vhwij,vhwj->vhwi", information, slide)
    stiffness = np.einsum("vhwi,vhwi->vhw", slide, along)
    levers = information @ geometry.body
    bodies = np.einsum("vhwik,vhwil->vhwkl", geometry.body, levers)
    camera = np.zeros((len(pull), 6)) if before is None else before.copy()
    trust, noise = np.ones(known.shape), np.ones(len(pull))
    for step in range(_STEPS):
        weight = trust / (noise**2)[:, None, None]
        rest = pull - np.einsum("vhwik,vk->vhwi", levers, camera)
        held = (weight * stiffness).sum(0) + 1 / _SURFACE_MM**2
        displacement = (weight * np.einsum("vhwi,vhwi->vhw", slide, rest)).sum(0) / held
        rest = pull - along * displacement[..., None]
        # Not at once: what moved must lose its weight first, or cameras would follow it.
        for v in range(len(pull) if before is not None or step > 1 else 0):
            matrix = np.einsum("hw,hwkl->kl", trust[v], bodies[v]) + (noise[v] / _CAMERA_MM) ** 2 * np.eye(6)
            camera[v] = np.linalg.solve(
                matrix, np.einsum("hw,hwik,hwi->k", trust[v], geometry.body[v], rest[v])
            )
        rest = rest - np.einsum("vhwik,vk->vhwi", levers, camera)
        spread = np.sqrt(np.maximum(np.einsum("vhwi,vhwij,vhwj->vhw", rest, inverse, rest), 0))
        # The median length of a normally distributed vector in the plane is √(2 ln 2).
        medians = [np.median(s[k]) if k.any() else np.nan for s, k in zip(spread, known, strict=True)]
        noise = np.maximum(np.array(medians) / np.sqrt(2 * np.log(2)), 1e-3)
        noise = np.fmin(noise, _NOISIEST * np.nanmedian(noise)) if known.any() else np.ones(len(pull))
        sigmas = spread / noise[:, None, None]
        trust = (1 + (sigmas / _ROBUST) ** 2) ** -1.5
    power = (noise**2)[:, None, None, None]
    shrunken = information + power[..., None] / _MOVEMENT_PX**2 * np.eye(2)
    moved = np.linalg.solve(shrunken, rest[..., None])[..., 0]
    return moved * known[..., None], sigmas / _usual(sigmas, known) * known, camera


def _usual(sigmas: Array, known: NDArray[np.bool_]) -> Array:
    """(h, w) how much larger than their noise the shifts of most views are, ≥ 1.

    Where the surface is wrong, at the rim of a nostril or between the lips, no view fits the others.
    """
    usual = quantile_of_views(sigmas, known, _USUAL)
    # What that share of normally distributed vectors in the plane is shorter than.
    return np.maximum(usual / np.sqrt(-2 * np.log(1 - _USUAL)), 1)


def quantile_of_views(values: Array, known: NDArray[np.bool_], share: float) -> Array:
    """(h, w) the quantile of (V, h, w) over the views where they are ``known``; 0 where none is."""
    ordered = np.sort(np.where(known, values, np.inf), axis=0)
    place = (np.maximum(known.sum(0) - 1, 0) * share)[None]
    low = np.floor(place).astype(int)
    below, above = (np.take_along_axis(ordered, k, 0)[0] for k in (low, np.ceil(place).astype(int)))
    some = known.any(0)
    below, above = np.where(some, below, 0), np.where(some, above, 0)
    return below + (place - low)[0] * (above - below)
