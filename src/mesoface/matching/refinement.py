"""The measured surface refined over all views at once.

The cascade compares pairs of views in windows, a few pairs a view. Here every view is compared with the mean
of all of them, texel by texel, and the surface moves by Gauss–Newton steps to where they agree best. What the
photos say is weighed by how much it says: the gradient of the skin's texture along the parallax of a view,
over the noise there (maximum a posteriori; the linear model is that of Lucas and Kanade, 1981, on the
surface). Where they say little, a thin plate (Duchon, 1977) continues what lies around. So the window is as
wide as it must be at each texel, and no wider.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.sparse.linalg import LinearOperator, cg

from mesoface.captures.capture import View
from mesoface.files.images import LUMA
from mesoface.matching.ncc import look_up_pixels, project_texels
from mesoface.matching.uncertainty import Evidence, estimate_uncertainty
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import blur_linearly, blur_masked, blur_wide, bounding_box, fill_outside
from mesoface.uvd.space import Match, UVDSpace, smooth_normals, surface_normals
from mesoface.uvd.visibility import pixel_footprint, resample_photo

Map = NDArray[np.float32]

_ROUNDS = 2
# Lengths in footprints: what a pixel spans on the face, or a texel where that is more.
# Edges of the bands that texture is compared in (standard deviations of Gaussians).
_BANDS = (0.7, 1.4, 2.8, 5.6)
# Smoothing of the surface that the plate is bent from.
_BASE = 5.0
# Standard deviation of the skin's curvature about that surface, times the footprint. Chosen on captures/lps
# and captures/lps_phone, as the length above.
_CURVATURE = 0.2
# Over so many mm brightness is evened out, and noise and contrast of a view are estimated.
_EVEN_MM = 4.0
# Tangents are taken from the surface smoothed over so many mm: its noise would swing them.
_TANGENT_MM = 1.0
# Parallax, mm along the surface for a mm of displacement, up to which a view counts in full, and from which
# on it does not count: at a slant a photo shows the texture blurred along just the direction of the parallax.
_FULL, _NONE = 1.2, 2.0
# Residuals beyond so many standard deviations count less (Huber, 1964).
_HUBER = 2.0
# No step is longer, mm: the linear model holds for about a pixel.
_LONGEST_STEP = 0.5
_OVERSAMPLE = 1.5
# Information of the cascade's surface at full confidence, 1/mm² a texel: it holds where photos say nothing.
_CASCADE = 0.1
# Squared confidence of the cascade counts as at least so much.
_LEAST_TRUST = 1e-3
# Keeps the equations regular outside of what was measured.
_REGULAR = 1e-4
# Draws of the noise.
_DRAWS = 3
# Of the conjugate gradients.
_TOLERANCE, _ITERATIONS = 1e-3, 60


def refine(found: Match, *, progress: ProgressCallback = silent) -> Match:
    """Move the measured surface to where all views agree best.

    Args:
        found: from :func:`mesoface.matching.cascade.match`; the surface is some tenths of a millimetre off.
        progress: called once a round.

    Returns:
        ``found`` with another surface and its uncertainty; what is measured, and how confidently, stays.
    """
    refined, evidence = refine_with_evidence(found, progress=progress)
    uncertainty = np.zeros(found.measured.shape, np.float32)
    uncertainty[bounding_box(found.space.valid)] = estimate_uncertainty(evidence)
    return replace(refined, uncertainty=uncertainty)


def refine_with_evidence(found: Match, *, progress: ProgressCallback = silent) -> tuple[Match, Evidence]:
    """:func:`refine`, and what its uncertainty is estimated from, in the box around the facial mask."""
    part = bounding_box(found.space.valid)
    space = UVDSpace(found.space.position[part], found.space.normal[part], found.measured[part])
    mask, sees = space.valid, found.visibility[:, *part] * space.valid
    texel = found.space.texel_mm
    footprint = float(np.median(pixel_footprint(found.views, space.position[mask].mean(0))))
    scale = max(footprint, texel)
    bands = _make_bands(scale / texel, footprint / texel)
    # Where the cascade doubts its surface, it neither shapes the base nor holds the plate.
    trust = np.where(mask, np.maximum(found.confidence[part] ** 2, _LEAST_TRUST), 0).astype(np.float32)
    base = fill_outside(blur_linearly(space.position, trust, _BASE * scale / texel), mask)
    normal = smooth_normals(base, mask, _BASE * scale / texel, space.normal)
    offset = np.einsum("hwc,hwc->hw", fill_outside(space.position, mask) - base, normal)
    height = fill_outside(offset, mask)
    plate = (scale / (_CURVATURE * texel**2)) ** 2
    for number in range(_ROUNDS):
        progress("Refinement", number, _ROUNDS)
        space = UVDSpace(base + normal * height[..., None], normal, mask)
        # Of the last round alone the noise matters.
        signs = _draw_signs(len(found.views), _DRAWS if number == _ROUNDS - 1 else 0)
        said = _compare(space, texel, found.views, sees, bands, signs)
        information = said.information + _CASCADE * trust
        bent = bend_plate(information, information * height + said.pull, plate, height)
        step = np.clip(bent - height, -_LONGEST_STEP, _LONGEST_STEP)
        height = height + step
    progress("Refinement", _ROUNDS, _ROUNDS)
    moved = np.zeros_like(found.space.position)
    moved[part] = np.where(mask[..., None], base + normal * height[..., None] - found.space.position[part], 0)
    # What was not measured goes along with what was, so that there is no step.
    position = found.space.position + fill_outside(moved, found.measured)
    normals = smooth_normals(position, found.space.valid, _TANGENT_MM / texel, found.space.normal)
    evidence = Evidence(
        space=UVDSpace(base + normal * height[..., None], normal, mask),
        texel_mm=texel,
        footprint_mm=scale,
        information=said.information,
        stiffness=plate,
        noise=np.stack([bend_plate(information, draw, plate, np.zeros_like(draw)) for draw in said.noise]),
        moved=height - offset,
        step=step,
        confidence=found.confidence[part],
        views=said.views,
    )
    return replace(found, space=replace(found.space, position=position, normal=normals)), evidence


def bend_plate(information: Map, pull: Map, stiffness: float, start: Map) -> Map:
    """The thin plate that data pull on: the least Σ information · x² / 2 − pull · x + stiffness · |Δx|² / 2.

    Solved by conjugate gradients; where all texels have the same information, the cosine transform is the
    solution, and it is the preconditioner where they have not.

    Args:
        information: (H, W) > 0, how firmly each texel is held.
        pull: (H, W) information × where it is held.
        stiffness: of the plate, in texels.
        start: (H, W) where the solution is first looked for.

    Returns:
        (H, W) float32.
    """
    shape = information.shape
    waves = [2 - 2 * np.cos(np.pi * np.arange(count) / count) for count in shape]
    frequency = (waves[0][:, None] + waves[1][None]) ** 2
    typical = float(np.exp(np.log(information).mean()))
    inverse = (1 / (typical + stiffness * frequency)).astype(np.float32)

    def apply(x: NDArray) -> NDArray:
        x = x.reshape(shape).astype(np.float32)
        return (information * x + np.float32(stiffness) * _laplacian(_laplacian(x))).ravel()

    def precondition(x: NDArray) -> NDArray:
        return idctn(dctn(x.reshape(shape), norm="ortho") * inverse, norm="ortho").ravel()

    size = information.size
    matrix = LinearOperator((size, size), matvec=apply, dtype=np.float32)
    near = LinearOperator((size, size), matvec=precondition, dtype=np.float32)
    solution, _ = cg(matrix, pull.ravel(), start.ravel(), rtol=_TOLERANCE, maxiter=_ITERATIONS, M=near)
    return solution.reshape(shape).astype(np.float32)


def _laplacian(x: Map) -> Map:
    return cv2.Laplacian(x, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class _Band:
    """A band of wavelengths: the difference of two Gaussians, and the share of white noise that it passes."""

    fine: float
    coarse: float
    noise: float

    def __call__(self, x: Map) -> Map:
        finer = cv2.GaussianBlur(x, (0, 0), self.fine) if self.fine else x
        return finer - cv2.GaussianBlur(x, (0, 0), self.coarse)


def _make_bands(scale: float, footprint: float) -> list[_Band]:
    """The bands; ``scale`` and ``footprint`` are in texels."""
    edges = [0.0, *(edge * scale for edge in _BANDS)]
    point = np.zeros([2 * int(6 * edges[-1]) + 1] * 2, np.float32)
    point[len(point) // 2, len(point) // 2] = 1
    bands = []
    for fine, coarse in pairwise(edges):
        passed = float((_Band(fine, coarse, 1)(point) ** 2).sum())
        # Texels that share a pixel share its noise.
        bands.append(_Band(fine, coarse, passed if fine else min(passed, 1 / footprint**2)))
    return bands


@dataclass(frozen=True)
class _Said:
    """What the views say of the displacement.

    Args:
        information: (H, W) of it, 1/mm².
        pull: (H, W) information × step, 1/mm.
        noise: (K, H, W) draws of what noise may have added to the pull, 1/mm.
        views: (H, W) how many views count.
    """

    information: Map
    pull: Map
    noise: Map
    views: Map


def _compare(
    space: UVDSpace,
    texel_mm: float,
    views: Sequence[View],
    sees: Map,
    bands: Sequence[_Band],
    signs: NDArray[np.float32],
) -> _Said:
    sigma = _EVEN_MM / texel_mm
    seen_skins, view_weights, shifts = [], [], []
    for view, seen, shift in zip(views, sees, _parallaxes(space, texel_mm, views), strict=True):
        length = np.hypot(*shift) * texel_mm
        weight = seen * np.clip((_NONE - length) / (_NONE - _FULL), 0, 1)
        pixels, camera = resample_photo(
            view.image @ LUMA, view.camera, space.position[space.valid], texel_mm, _OVERSAMPLE, 1.0
        )
        skin = look_up_pixels(pixels, *project_texels(space, camera.P), 0.0)
        seen_skins.append(skin - blur_wide(skin, weight > 0, sigma))
        view_weights.append(weight)
        shifts.append(shift)
    skins, weights = np.stack(seen_skins), np.stack(view_weights)
    said = np.sum([_compare_band(skins, weights, shifts, band, sigma, signs) for band in bands], axis=0)
    information, pull, *noise = (cv2.GaussianBlur(np.where(space.valid, x, 0), (0, 0), 0.7) for x in said)
    return _Said(information + np.float32(_REGULAR), pull, np.array(noise), weights.sum(0))


def _draw_signs(views: int, draws: int) -> NDArray[np.float32]:
    """(K, V) ±1, as many of each as there can be: what comes from all views alike cancels out."""
    rng = np.random.default_rng(0)
    half = np.where(np.arange(views) % 2, -1, 1)
    return np.array([rng.permutation(half) for _ in range(draws)], np.float32).reshape(draws, views)


def _compare_band(
    skins: Map,
    weights: Map,
    shifts: Sequence[tuple[Map, Map]],
    band: _Band,
    sigma: float,
    signs: NDArray[np.float32],
) -> Map:
    """(2 + K, H, W) one band's part of :func:`_compare`: information, pull and draws of its noise.

    Texel by texel the model is: skin of a view = its contrast × (texture + gradient of the texture along the
    view's parallax × displacement). The texture is eliminated. A draw of the noise is the pull of residuals
    with the ``signs`` (K, V) (wild bootstrap; Wu, 1986).
    """
    skins = np.stack([band(skin) for skin in skins])
    texture = (weights * skins).sum(0) / np.maximum(weights.sum(0), 1e-3)
    contrast = np.stack([_contrast(skin, texture, w, sigma) for skin, w in zip(skins, weights, strict=True)])
    texture, total = _mean_texture(skins, contrast, weights)
    residual = skins - contrast * texture
    # The mean follows the views, so that residuals are too small by what each view weighs in it.
    views = total**2 / np.maximum((weights**2 * contrast**2).sum(0), 1e-6)
    freedom = weights.sum(0) * (1 - 1 / np.maximum(views, 1.05))
    noise = _spread((weights * residual**2).sum(0), sigma) / np.maximum(_spread(freedom, sigma), 1e-3)
    noise = np.maximum(noise, 1e-8)
    weights = weights / np.maximum(1, np.abs(residual) / (_HUBER * np.sqrt(noise)))
    texture, total = _mean_texture(skins, contrast, weights)
    # What is left of the noise in the mean has a gradient, too, which would be taken for information.
    left = _spread((weights**2 * contrast**2).sum(0) / total * noise, sigma)
    signal = 1 - left / np.maximum(_spread(total * texture**2, sigma), 1e-12)
    across, down = (np.clip(signal, 0.02, 1) * _slope(texture, axis) for axis in (1, 0))
    known, pulled, shared, drawn = np.zeros((4, *texture.shape), np.float32)
    signed, signed_drawn = np.zeros((2, len(signs), *texture.shape), np.float32)
    for skin, weight, gain, (u, v), sign in zip(skins, weights, contrast, shifts, signs.T, strict=True):
        change, rest = gain * (across * u + down * v), skin - gain * texture
        known += weight * change**2
        pull, draw = weight * change * rest, weight * gain * rest
        pulled += pull
        shared += weight * gain * change
        drawn += draw
        for k, s in enumerate(sign):
            signed[k] += s * pull
            signed_drawn[k] += s * draw
    certainty = band.noise / noise
    # One view alone says nothing; rounding must not make that less than nothing.
    known = np.maximum(known - shared**2 / total, 0)
    pulls = np.stack([pulled, *signed]) - shared / total * np.stack([drawn, *signed_drawn])
    return np.concatenate([(certainty * known)[None], -certainty * pulls])


def _mean_texture(skins: Map, contrast: Map, weights: Map) -> tuple[Map, Map]:
    """(H, W) the texture that explains all views best, and its weight."""
    total = np.maximum((weights * contrast**2).sum(0), 1e-3)
    return (weights * contrast * skins).sum(0) / total, total


def _contrast(skin: Map, texture: Map, weight: Map, sigma: float) -> Map:
    """(H, W) by how much the texture is weaker or stronger in one view than in the mean, locally."""
    both = _spread(weight * skin * texture, sigma)
    return np.clip(both / np.maximum(_spread(weight * texture**2, sigma), 1e-9), 0.05, 1.5)


def _parallaxes(space: UVDSpace, texel_mm: float, views: Sequence[View]) -> Iterator[tuple[Map, Map]]:
    """For each view the texels (right, down) that its photo slides over the skin for a mm of displacement."""
    position = blur_masked(space.position, space.valid, _TANGENT_MM / texel_mm)
    right, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    normal = surface_normals(position, space.normal)
    rr, dd, rd = (_dot(a, b) for a, b in ((right, right), (down, down), (right, down)))
    area = np.maximum(rr * dd - rd**2, 1e-6)
    rise = _dot(normal, space.normal)
    for view in views:
        sight = view.camera.center.astype(np.float32) - position
        sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
        slide = space.normal - sight * (rise / np.maximum(_dot(normal, sight), 0.1))[..., None]
        a, b = _dot(slide, right), _dot(slide, down)
        yield ((dd * a - rd * b) / area).astype(np.float32), ((rr * b - rd * a) / area).astype(np.float32)


def _dot(a: NDArray, b: NDArray) -> NDArray:
    return np.einsum("hwc,hwc->hw", a, b)


def _slope(x: Map, axis: int) -> Map:
    return np.gradient(x, axis=axis).astype(np.float32)


def _spread(x: Map, sigma: float) -> Map:
    """(H, W) Gaussian blur; a wide one on a smaller map, which is as smooth."""
    factor = 2 ** max(int(np.ceil(np.log2(sigma / 8))), 0)
    if factor == 1:
        return cv2.GaussianBlur(x, (0, 0), sigma)
    height, width = x.shape
    small = cv2.resize(x, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
