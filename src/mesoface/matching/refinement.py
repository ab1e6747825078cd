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
from mesoface.geometry.camera import Camera
from mesoface.matching.ncc import look_up_pixels, project_texels
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import blur_linearly, blur_masked, blur_wide, bounding_box, fill_outside
from mesoface.uvd.photos import resample_photo, typical_footprint
from mesoface.uvd.space import Match, UVDSpace, smooth_normals, surface_normals

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
# Bytes that a texel of a view takes while strips are compared, and how far strips overlap, in lengths that
# brightness is evened out over.
_BYTES, _STRIP_MARGIN = 48, 3
# Of the conjugate gradients.
_TOLERANCE, _ITERATIONS = 1e-3, 60


@dataclass(frozen=True, eq=False)
class Photo:
    """What is compared of a view.

    Args:
        pixels: (h, w) float32 luminance in [0, 1] around the face.
        camera: of these pixels, without a lens.
        footprint: what a pixel of the camera's sensor spans on the face, mm: these may be enlarged.
    """

    pixels: NDArray[np.float32]
    camera: Camera
    footprint: float


def refine(
    found: Match,
    photos: Sequence[Photo] | None = None,
    *,
    rounds: int = _ROUNDS,
    memory_mb: int = 1024,
    progress: ProgressCallback = silent,
) -> Match:
    """Move the measured surface to where all views agree best.

    Args:
        found: from :func:`mesoface.matching.cascade.match`; the surface is some tenths of a millimetre off.
        photos: of its V views, where they are sharper than the views themselves; None: the views.
        rounds: Gauss–Newton steps.
        memory_mb: for the texels that are compared at a time; more are compared in strips.
        progress: called once a round.

    Returns:
        ``found`` with another surface; what is measured, and how confidently, stays.
    """
    part = bounding_box(found.space.valid)
    space = UVDSpace(found.space.position[part], found.space.normal[part], found.measured[part])
    mask, sees = space.valid, found.visibility[:, *part] * space.valid
    texel = found.space.texel_mm
    photos = photos or [_cut(view, space, texel) for view in found.views]
    footprint = float(np.median([photo.footprint for photo in photos]))
    scale = max(footprint, texel)
    bands = _make_bands(scale / texel, footprint / texel)
    # Where the cascade doubts its surface, it neither shapes the base nor holds the plate.
    trust = np.where(mask, np.maximum(found.confidence[part] ** 2, _LEAST_TRUST), 0).astype(np.float32)
    base = fill_outside(blur_linearly(space.position, trust, _BASE * scale / texel), mask)
    normal = smooth_normals(base, mask, _BASE * scale / texel, space.normal)
    offset = np.einsum("hwc,hwc->hw", fill_outside(space.position, mask) - base, normal)
    height = fill_outside(offset, mask)
    plate = (scale / (_CURVATURE * texel**2)) ** 2
    for number in range(rounds):
        progress("Refinement", number, rounds)
        space = UVDSpace(base + normal * height[..., None], normal, mask)
        information, pull = _compare(space, texel, photos, sees, bands, memory_mb)
        information += _CASCADE * trust
        bent = bend_plate(information, information * height + pull, plate, height)
        height = height + np.clip(bent - height, -_LONGEST_STEP, _LONGEST_STEP)
    progress("Refinement", rounds, rounds)
    moved = np.zeros_like(found.space.position)
    moved[part] = np.where(mask[..., None], base + normal * height[..., None] - found.space.position[part], 0)
    # What was not measured goes along with what was, so that there is no step.
    position = found.space.position + fill_outside(moved, found.measured)
    normals = smooth_normals(position, found.space.valid, _TANGENT_MM / texel, found.space.normal)
    return replace(found, space=replace(found.space, position=position, normal=normals))


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


def _cut(view: View, space: UVDSpace, texel_mm: float) -> Photo:
    """A view around the face, no finer than texels need."""
    points = space.position[space.valid]
    pixels, camera = resample_photo(view.image @ LUMA, view.camera, points, texel_mm, _OVERSAMPLE, 1.0)
    return Photo(pixels, camera, typical_footprint([view.camera], points.mean(0)))


def _compare(
    space: UVDSpace,
    texel_mm: float,
    photos: Sequence[Photo],
    sees: Map,
    bands: Sequence[_Band],
    memory_mb: int,
) -> tuple[Map, Map]:
    """What the views say of the displacement: its information (H, W), 1/mm², and information × step, 1/mm."""
    height, width = space.valid.shape
    strip = max(int(memory_mb * 2**20 / (_BYTES * len(photos) * width)), 1)
    strip = -(-height // -(-height // strip))  # all about as high
    margin = int(np.ceil(_STRIP_MARGIN * _EVEN_MM / texel_mm))
    said = np.empty((2, height, width), np.float32)
    for top in range(0, height, strip):
        start, stop = max(top - margin, 0), min(top + strip + margin, height)
        part = UVDSpace(space.position[start:stop], space.normal[start:stop], space.valid[start:stop])
        inside = slice(top - start, top - start + strip)
        both = _compare_strip(part, texel_mm, photos, sees[:, start:stop], bands)
        said[:, top : top + strip] = [x[inside] for x in both]
    return said[0] + np.float32(_REGULAR), said[1]


def _compare_strip(
    space: UVDSpace, texel_mm: float, photos: Sequence[Photo], sees: Map, bands: Sequence[_Band]
) -> tuple[Map, Map]:
    """:func:`_compare` for some rows."""
    sigma = _EVEN_MM / texel_mm
    cameras = [photo.camera for photo in photos]
    skins, weights, shifts = [], [], []
    for photo, seen, shift in zip(photos, sees, _parallaxes(space, texel_mm, cameras), strict=True):
        length = np.hypot(*shift) * texel_mm
        weight = seen * np.clip((_NONE - length) / (_NONE - _FULL), 0, 1)
        skin = look_up_pixels(photo.pixels, *project_texels(space, photo.camera.P), 0.0)
        skins.append(skin - blur_wide(skin, weight > 0, sigma))
        weights.append(weight)
        shifts.append(shift)
    stacked = np.stack(skins), np.stack(weights)
    said = np.sum([_compare_band(*stacked, shifts, band, sigma) for band in bands], axis=0)
    information, pull = (cv2.GaussianBlur(np.where(space.valid, x, 0), (0, 0), 0.7) for x in said)
    return information, pull


def _compare_band(
    skins: Map, weights: Map, shifts: Sequence[tuple[Map, Map]], band: _Band, sigma: float
) -> tuple[Map, Map]:
    """One band's part of :func:`_compare`.

    Texel by texel the model is: skin of a view = its contrast × (texture + gradient of the texture along the
    view's parallax × displacement). The texture is eliminated.
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
    for skin, weight, gain, (u, v) in zip(skins, weights, contrast, shifts, strict=True):
        change, rest = gain * (across * u + down * v), skin - gain * texture
        known += weight * change**2
        pulled += weight * change * rest
        shared += weight * gain * change
        drawn += weight * gain * rest
    certainty = band.noise / noise
    # One view alone says nothing; rounding must not make that less than nothing.
    known = np.maximum(known - shared**2 / total, 0)
    return certainty * known, -certainty * (pulled - shared * drawn / total)


def _mean_texture(skins: Map, contrast: Map, weights: Map) -> tuple[Map, Map]:
    """(H, W) the texture that explains all views best, and its weight."""
    total = np.maximum((weights * contrast**2).sum(0), 1e-3)
    return (weights * contrast * skins).sum(0) / total, total


def _contrast(skin: Map, texture: Map, weight: Map, sigma: float) -> Map:
    """(H, W) by how much the texture is weaker or stronger in one view than in the mean, locally."""
    both = _spread(weight * skin * texture, sigma)
    return np.clip(both / np.maximum(_spread(weight * texture**2, sigma), 1e-9), 0.05, 1.5)


def _parallaxes(space: UVDSpace, texel_mm: float, cameras: Sequence[Camera]) -> Iterator[tuple[Map, Map]]:
    """For each camera the texels (right, down) that its photo slides on the skin by a mm of displacement."""
    position = blur_masked(space.position, space.valid, _TANGENT_MM / texel_mm)
    right, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    normal = surface_normals(position, space.normal)
    rr, dd, rd = (_dot(a, b) for a, b in ((right, right), (down, down), (right, down)))
    area = np.maximum(rr * dd - rd**2, 1e-6)
    rise = _dot(normal, space.normal)
    for camera in cameras:
        sight = camera.center.astype(np.float32) - position
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
