"""What all views say of the surface's displacement: how much, and where to.

Texel by texel the model is: skin of a view = its contrast × (texture + gradient of the texture along the
view's parallax × displacement). The texture is what all views have in common, and is eliminated. The linear
model is that of Lucas and Kanade (1981), on the surface; each band of wavelengths is weighed by its noise.
The passes over the texels are compiled (:mod:`mesoface.matching.passes`); what varies slowly (contrast,
noise) is kept on small maps between them.
``tests/matching/plain_consensus.py`` is the readable twin; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.matching import passes
from mesoface.running.process import one_opencv_thread
from mesoface.uvd.maps import blur_masked, blur_wide
from mesoface.uvd.space import UVDSpace, surface_normals

Map = NDArray[np.float32]

# Edges of the bands that texture is compared in (standard deviations of Gaussians), in footprints: what a
# pixel spans on the face, or a texel where that is more.
_BANDS = (0.7, 1.4, 2.8, 5.6)
# Over so many mm brightness is evened out, and noise and contrast of a view are estimated.
_EVEN_MM = 4.0
TANGENT_MM = 1.0
"""Tangents are taken from the surface smoothed over so many mm: its noise would swing them."""
# Residuals beyond so many standard deviations count less (Huber, 1964).
_HUBER = 2.0
# Keeps the equations regular outside of what was measured.
_REGULAR = 1e-4
# Bytes that a texel of a view takes while strips are compared, and how far strips overlap, in lengths that
# brightness is evened out over.
_BYTES, _STRIP_MARGIN = 48, 3
# Small maps have so many texels in the standard deviation of what is spread on them.
_SMALL_SIGMA = 3.5


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


@dataclass(frozen=True)
class Band:
    """A band of wavelengths: the difference of two Gaussians, and the share of white noise that it passes.

    Args:
        fine: standard deviation of the first, texels; 0: not smoothed.
        coarse: of the second.
        noise: share of the variance of white noise.
    """

    fine: float
    coarse: float
    noise: float

    def __call__(self, x: Map) -> Map:
        """(H, W) what the band passes."""
        return _blur(x, self.fine) - _blur(x, self.coarse)


def make_bands(scale: float, footprint: float) -> list[Band]:
    """The bands; ``scale`` and ``footprint`` are in texels."""
    edges = [0.0, *(edge * scale for edge in _BANDS)]
    point = np.zeros([2 * int(6 * edges[-1]) + 1] * 2, np.float32)
    point[len(point) // 2, len(point) // 2] = 1
    bands = []
    for fine, coarse in pairwise(edges):
        passed = float((Band(fine, coarse, 1)(point) ** 2).sum())
        # Texels that share a pixel share its noise.
        bands.append(Band(fine, coarse, passed if fine else min(passed, 1 / footprint**2)))
    return bands


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the views say of the displacement.

    Args:
        information: (H, W) of it, 1/mm², > 0.
        pull: (H, W) information × step, 1/mm.
        noise: (K, H, W) draws of what noise may have added to the pull, 1/mm.
        views: (H, W) how many views count.
    """

    information: Map
    pull: Map
    noise: Map
    views: Map


def draw_signs(views: int, draws: int) -> Map:
    """(K, V) ±1, as many of each as there can be: what comes from all views alike cancels out."""
    rng = np.random.default_rng(0)
    half = np.where(np.arange(views) % 2, -1, 1)
    return np.array([rng.permutation(half) for _ in range(draws)], np.float32).reshape(draws, views)


def compare_views(
    space: UVDSpace,
    texel_mm: float,
    photos: Sequence[Photo],
    sees: Map,
    bands: Sequence[Band],
    signs: Map,
    *,
    memory_mb: int = 1024,
    threads: int = 2,
) -> Consensus:
    """What the views say of the displacement.

    A draw of the noise is the pull of the views' residuals with signs (wild bootstrap; Wu, 1986).

    Args:
        space: the surface, (H, W).
        texel_mm: distance between texels.
        photos: V photos.
        sees: (V, H, W) how well each of them sees each texel.
        bands: that texture is compared in.
        signs: (K, V) of the residuals, for K draws of the noise; see :func:`draw_signs`.
        memory_mb: for the texels that are compared at a time; more are compared in strips.
        threads: of the CPU.
    """
    height, width = space.valid.shape
    strip = max(int(memory_mb * 2**20 / (_BYTES * len(photos) * width)), 1)
    strip = -(-height // -(-height // strip))  # all about as high
    margin = int(np.ceil(_STRIP_MARGIN * _EVEN_MM / texel_mm))
    said, views = np.empty((2 + len(signs), height, width), np.float32), np.empty((height, width), np.float32)
    # OpenCV must not use threads of its own inside ours.
    with one_opencv_thread, ThreadPoolExecutor(threads) as pool:
        for top in range(0, height, strip):
            start, stop = max(top - margin, 0), min(top + strip + margin, height)
            part = UVDSpace(space.position[start:stop], space.normal[start:stop], space.valid[start:stop])
            inside = slice(top - start, top - start + strip)
            crew = _Crew(pool, threads)
            maps, count = _compare_strip(part, texel_mm, photos, sees[:, start:stop], bands, signs, crew)
            said[:, top : top + strip], views[top : top + strip] = maps[:, inside], count[inside]
    return Consensus(said[0] + np.float32(_REGULAR), said[1], said[2:], views)


@dataclass(frozen=True, eq=False)
class _Crew:
    """Threads that share the views, or the rows."""

    pool: ThreadPoolExecutor
    threads: int

    def views(self, work: Callable[..., None], *each: Sequence) -> None:
        list(self.pool.map(work, *each))

    def rows(self, work: Callable[[int, int], None], count: int, unit: int) -> None:
        """``work(first, last)`` for all rows, in whole units."""
        units = -(-count // unit)
        edges = [min(unit * (units * k // self.threads), count) for k in range(self.threads + 1)]
        list(self.pool.map(work, edges[:-1], edges[1:]))


def _compare_strip(
    space: UVDSpace,
    texel_mm: float,
    photos: Sequence[Photo],
    sees: Map,
    bands: Sequence[Band],
    signs: Map,
    crew: _Crew,
) -> tuple[Map, Map]:
    """(2 + K, H, W) information, pull and draws of its noise; (H, W) how many views count."""
    sigma = _EVEN_MM / texel_mm
    shape = len(photos), *space.valid.shape
    skins, weights = np.empty(shape, np.float32), np.empty(shape, np.float32)
    shifts = np.empty((shape[0], 2, *shape[1:]), np.float32)
    tangents = _tangents(space, texel_mm)

    def observe(v: int) -> None:
        camera = photos[v].camera
        passes.observe(
            np.ascontiguousarray(photos[v].pixels, np.float32),
            camera.P,
            np.asarray(camera.center, np.float32),
            space.position,
            space.normal,
            *tangents,
            sees[v],
            np.float32(texel_mm),
            skins[v],
            weights[v],
            shifts[v],
        )
        skins[v] -= blur_wide(skins[v], weights[v] > 0, sigma)

    crew.views(observe, range(shape[0]))
    said = np.zeros((2 + len(signs), *shape[1:]), np.float32)
    finer = skins.copy()
    for band in bands:
        coarser = np.empty_like(finer)

        def blur(v: int, band: Band = band, coarser: Map = coarser) -> None:
            coarser[v] = _blur(skins[v], band.coarse)

        crew.views(blur, range(shape[0]))
        finer -= coarser
        compare_band(finer, weights, shifts, band.noise, sigma, signs, said, crew)
        finer = coarser
    smooth = [cv2.GaussianBlur(np.where(space.valid, x, 0), (0, 0), 0.7) for x in said]
    return np.stack(smooth), weights.sum(0)


def compare_band(
    skins: Map,
    weights: Map,
    shifts: Map,
    noise_share: float,
    sigma: float,
    signs: Map,
    said: Map,
    crew: _Crew,
) -> None:
    """Add one band's information, its pull, and draws of the noise in it.

    Args:
        skins: (V, H, W) what the band passes of each view.
        weights: (V, H, W) ≥ 0.
        shifts: (V, 2, H, W) texels right and down that a view slides over the skin for a mm.
        noise_share: share of white noise that the band passes.
        sigma: texels over which noise and contrast are estimated.
        signs: (K, V) of the residuals, for draws of the noise.
        said: (2 + K, H, W) to add to.
        crew: shares the work.
    """
    views, height, width = skins.shape
    spread = _Spread(height, width, sigma)
    unit = spread.unit
    texture, total = np.empty((2, height, width), np.float32)
    # Contrast: by how much the texture is weaker or stronger in one view than in the mean, locally.
    sums = spread.empty(views, 2)
    crew.rows(lambda a, b: passes.mean_and_products(skins, weights, a, b, unit, sums), height, unit)
    contrast = np.empty_like(skins)

    def scale(v: int) -> None:
        both, power = (spread.smooth(x) for x in sums[v])
        contrast[v] = spread.whole(np.clip(both / np.maximum(power, 1e-9), 0.05, 1.5))

    crew.views(scale, range(views))
    seen = skins, weights, contrast
    # The mean follows the views, so that residuals are too small by what each view weighs in it.
    rests = spread.empty(2)
    crew.rows(lambda a, b: passes.residuals(*seen, a, b, unit, texture, rests), height, unit)
    squares, freedom = (spread.smooth(x) for x in rests)
    noise = spread.whole(np.maximum(squares / np.maximum(freedom, 1e-3), 1e-8))
    powers, robust = spread.empty(2), np.empty_like(weights)
    limit = np.float32(_HUBER) * np.sqrt(noise)
    crew.rows(
        lambda a, b: passes.robust_mean(*seen, noise, limit, a, b, unit, robust, texture, total, powers),
        height,
        unit,
    )
    # What is left of the noise in the mean has a gradient, too, which would be taken for information.
    left, power = (spread.smooth(x) for x in powers)
    gain = spread.whole(np.clip(1 - left / np.maximum(power, 1e-12), 0.02, 1))
    certainty = np.float32(noise_share) / noise
    mean = texture, total, gain, certainty, signs
    crew.rows(lambda a, b: passes.pull(skins, robust, contrast, shifts, *mean, a, b, said), height, 1)


class _Spread:
    """Gaussian blurs of wide maps, on small maps of their blocks' means."""

    def __init__(self, height: int, width: int, sigma: float):
        self._height, self._width = height, width
        self.unit = 2 ** max(int(np.log2(max(sigma / _SMALL_SIGMA, 1))), 0)
        self._sigma = sigma / self.unit

    def empty(self, *counts: int) -> Map:
        """Zeros, (..., h, w): small maps."""
        small = -(-self._height // self.unit), -(-self._width // self.unit)
        return np.zeros((*counts, *small), np.float32)

    def smooth(self, small: Map) -> Map:
        """(h, w) the same, blurred."""
        return cv2.GaussianBlur(small, (0, 0), self._sigma)

    def whole(self, small: Map) -> Map:
        """(H, W) a small map on all texels, linear between the blocks' middles."""
        if self.unit == 1:
            return np.ascontiguousarray(small, np.float32)
        rows, columns = (n * self.unit for n in small.shape)
        large = cv2.resize(small.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(large[: self._height, : self._width])


def _blur(x: Map, sigma: float) -> Map:
    return cv2.GaussianBlur(x, (0, 0), sigma) if sigma else x


def _tangents(space: UVDSpace, texel_mm: float) -> tuple[Map, Map, Map, Map]:
    """Smoothed positions, their slopes right and down, and their normals: (H, W, 3) each."""
    position = blur_masked(space.position, space.valid, TANGENT_MM / texel_mm)
    right, down = (np.ascontiguousarray(np.gradient(position, axis=k), np.float32) for k in (1, 0))
    return position, right, down, surface_normals(position, space.normal)
