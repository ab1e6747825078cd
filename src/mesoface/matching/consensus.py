"""What all views say of the surface's displacement: how much, and where to.

Texel by texel the model is: skin of a view = its contrast × (texture + gradient of the texture along the
view's parallax × displacement). The texture is what all views have in common, and is eliminated. The linear
model is that of Lucas and Kanade (1981), on the surface; each band of wavelengths is weighed by its noise.
Passes over the texels are compiled; what varies slowly (contrast, noise) is kept on small maps between them.
``tests/matching/plain_consensus.py`` is the readable twin; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
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
# Parallax, mm along the surface for a mm of displacement, up to which a view counts in full, and from which
# on it does not count: at a slant a photo shows the texture blurred along just the direction of the parallax.
_FULL, _NONE = 1.2, 2.0
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
        _observe(
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
    crew.rows(lambda a, b: _mean_and_products(skins, weights, a, b, unit, sums), height, unit)
    contrast = np.empty_like(skins)

    def scale(v: int) -> None:
        both, power = (spread.smooth(x) for x in sums[v])
        contrast[v] = spread.whole(np.clip(both / np.maximum(power, 1e-9), 0.05, 1.5))

    crew.views(scale, range(views))
    seen = skins, weights, contrast
    # The mean follows the views, so that residuals are too small by what each view weighs in it.
    rests = spread.empty(2)
    crew.rows(lambda a, b: _residuals(*seen, a, b, unit, texture, rests), height, unit)
    squares, freedom = (spread.smooth(x) for x in rests)
    noise = spread.whole(np.maximum(squares / np.maximum(freedom, 1e-3), 1e-8))
    powers, robust = spread.empty(2), np.empty_like(weights)
    limit = np.float32(_HUBER) * np.sqrt(noise)
    crew.rows(
        lambda a, b: _robust_mean(*seen, noise, limit, a, b, unit, robust, texture, total, powers),
        height,
        unit,
    )
    # What is left of the noise in the mean has a gradient, too, which would be taken for information.
    left, power = (spread.smooth(x) for x in powers)
    gain = spread.whole(np.clip(1 - left / np.maximum(power, 1e-12), 0.02, 1))
    certainty = np.float32(noise_share) / noise
    mean = texture, total, gain, certainty, signs
    crew.rows(lambda a, b: _pull(skins, robust, contrast, shifts, *mean, a, b, said), height, 1)


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


_compiled = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})


@_compiled
def _observe(
    pixels, P, center, position, normal, smooth, right, down, upright, sees, texel_mm, skin, weight, shift
):
    """One view's luminance at the texels, its weights, and its parallax in texels for a mm."""
    rows, columns = pixels.shape
    last_x, last_y = np.float64(columns - 1), np.float64(rows - 1)
    full, none = np.float32(_FULL), np.float32(_NONE)
    for r in range(skin.shape[0]):
        for c in range(skin.shape[1]):
            x0, x1, x2 = position[r, c]
            z = P[2, 0] * x0 + P[2, 1] * x1 + P[2, 2] * x2 + P[2, 3]
            x = (P[0, 0] * x0 + P[0, 1] * x1 + P[0, 2] * x2 + P[0, 3]) / z
            y = (P[1, 0] * x0 + P[1, 1] * x1 + P[1, 2] * x2 + P[1, 3]) / z
            x = x if x > 0.0 else 0.0
            y = y if y > 0.0 else 0.0
            x = x if x < last_x else last_x
            y = y if y < last_y else last_y
            i, j = min(int(y), rows - 2), min(int(x), columns - 2)
            fx, fy = np.float32(x - j), np.float32(y - i)
            top = pixels[i, j] + fx * (pixels[i, j + 1] - pixels[i, j])
            bottom = pixels[i + 1, j] + fx * (pixels[i + 1, j + 1] - pixels[i + 1, j])
            skin[r, c] = top + fy * (bottom - top)
            n, m, a, b = normal[r, c], upright[r, c], right[r, c], down[r, c]
            s0, s1, s2 = center[0] - smooth[r, c, 0], center[1] - smooth[r, c, 1], center[2] - smooth[r, c, 2]
            length = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
            s0, s1, s2 = s0 / length, s1 / length, s2 / length
            rise = m[0] * n[0] + m[1] * n[1] + m[2] * n[2]
            facing = max(m[0] * s0 + m[1] * s1 + m[2] * s2, np.float32(0.1))
            k = rise / facing
            t0, t1, t2 = n[0] - s0 * k, n[1] - s1 * k, n[2] - s2 * k
            ta = t0 * a[0] + t1 * a[1] + t2 * a[2]
            tb = t0 * b[0] + t1 * b[1] + t2 * b[2]
            aa = a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
            bb = b[0] * b[0] + b[1] * b[1] + b[2] * b[2]
            ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
            area = max(aa * bb - ab * ab, np.float32(1e-6))
            u, v = (bb * ta - ab * tb) / area, (aa * tb - ab * ta) / area
            shift[0, r, c], shift[1, r, c] = u, v
            part = (none - np.sqrt(u * u + v * v) * texel_mm) / (none - full)
            weight[r, c] = sees[r, c] * min(max(part, np.float32(0)), np.float32(1))


@_compiled
def _mean_and_products(skins, weights, first, last, unit, sums):
    """Blocks' means of skin × mean texture and of its square, for each view, by weight."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            weight, mean = np.float32(0), np.float32(0)
            for v in range(len(skins)):
                weight += weights[v, r, c]
                mean += weights[v, r, c] * skins[v, r, c]
            mean /= max(weight, np.float32(1e-3))
            i, j = r // unit, c // unit
            for v in range(len(skins)):
                w = share * weights[v, r, c] * mean
                sums[v, 0, i, j] += w * skins[v, r, c]
                sums[v, 1, i, j] += w * mean


@_compiled
def _residuals(skins, weights, contrast, first, last, unit, texture, sums):
    """The texture that explains all views best; blocks' means of squared residuals and of their freedom."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            total, mean, square, weight = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for v in range(len(skins)):
                w, g = weights[v, r, c], contrast[v, r, c]
                total += w * g * g
                mean += w * g * skins[v, r, c]
                square += w * w * g * g
                weight += w
            total = max(total, np.float32(1e-3))
            mean /= total
            texture[r, c] = mean
            residual = np.float32(0)
            for v in range(len(skins)):
                rest = skins[v, r, c] - contrast[v, r, c] * mean
                residual += weights[v, r, c] * rest * rest
            views = max(total * total / max(square, np.float32(1e-6)), np.float32(1.05))
            i, j = r // unit, c // unit
            sums[0, i, j] += share * residual
            sums[1, i, j] += share * weight * (1 - 1 / views)


@_compiled
def _robust_mean(skins, weights, contrast, noise, limits, first, last, unit, robust, texture, total, sums):
    """Weights against outliers, the mean with them, and blocks' means of the noise and the power in it."""
    share = np.float32(1 / unit**2)
    for r in range(first, last):
        for c in range(skins.shape[2]):
            limit, old = limits[r, c], texture[r, c]
            sum_, mean, square = np.float32(0), np.float32(0), np.float32(0)
            for v in range(len(skins)):
                g, s = contrast[v, r, c], skins[v, r, c]
                w = weights[v, r, c] / max(np.float32(1), abs(s - g * old) / limit)
                robust[v, r, c] = w
                sum_ += w * g * g
                mean += w * g * s
                square += w * w * g * g
            sum_ = max(sum_, np.float32(1e-3))
            mean /= sum_
            texture[r, c], total[r, c] = mean, sum_
            i, j = r // unit, c // unit
            sums[0, i, j] += share * square / sum_ * noise[r, c]
            sums[1, i, j] += share * sum_ * mean * mean


@_compiled
def _pull(skins, weights, contrast, shifts, texture, total, gain, certainty, signs, first, last, said):
    """Adds information, information × step, and draws of its noise, the texture eliminated."""
    height, width = texture.shape
    pulls, draws = np.empty(len(signs), np.float32), np.empty(len(signs), np.float32)
    half = np.float32(0.5)
    for r in range(first, last):
        up, low = max(r - 1, 0), min(r + 1, height - 1)
        for c in range(width):
            left, right = max(c - 1, 0), min(c + 1, width - 1)
            across = gain[r, c] * (texture[r, right] - texture[r, left]) * (half if right - left == 2 else 1)
            down = gain[r, c] * (texture[low, c] - texture[up, c]) * (half if low - up == 2 else 1)
            known, pulled, shared, drawn = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            pulls[:], draws[:] = np.float32(0), np.float32(0)
            for v in range(len(skins)):
                w, g = weights[v, r, c], contrast[v, r, c]
                change = g * (across * shifts[v, 0, r, c] + down * shifts[v, 1, r, c])
                rest = skins[v, r, c] - g * texture[r, c]
                known += w * change * change
                pulled += w * change * rest
                shared += w * g * change
                drawn += w * g * rest
                for k in range(len(signs)):
                    pulls[k] += signs[k, v] * w * change * rest
                    draws[k] += signs[k, v] * w * g * rest
            # One view alone says nothing; rounding must not make that less than nothing.
            known = max(known - shared * shared / total[r, c], np.float32(0))
            said[0, r, c] += certainty[r, c] * known
            said[1, r, c] -= certainty[r, c] * (pulled - shared * drawn / total[r, c])
            for k in range(len(signs)):
                said[2 + k, r, c] -= certainty[r, c] * (pulls[k] - shared * draws[k] / total[r, c])
