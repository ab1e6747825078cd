"""Photo-consistency in UVD space: windowed normalised cross-correlation between pairs of views.

For a texel at displacement d, every view is sampled at the texels around it *at the same d*, so that the
window lies on a copy of the base surface and slanted skin needs no correction. The fast path is a compiled
lookup and OpenCV's filters on each step's slice; :mod:`mesoface.matching.ncc_torch` is its readable twin,
which runs on any torch device; tests compare both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.running.process import one_opencv_thread
from mesoface.uvd.photos import resample_photo
from mesoface.uvd.space import UVDSpace


@dataclass(frozen=True, eq=False)
class MatchImage:
    """One photo at one level of the cascade.

    Args:
        pixels: (h, w) float32 luminance minus its local mean, cut to the face.
        camera: of ``pixels``.
    """

    pixels: NDArray[np.float32]
    camera: Camera


def prepare_image(view: View, space: UVDSpace, oversample: float, reach_mm: float) -> MatchImage:
    """Resample a photo so that ``oversample`` of its pixels fall on a texel, and cut it to the face.

    Args:
        view: the photo.
        space: the UVD space of the level.
        oversample: pixels per texel.
        reach_mm: how far from the base the surface is searched; the cut leaves room for it.
    """
    points = space.position[space.valid]
    pixels, camera = resample_photo(view.luminance, view.camera, points, space.texel_mm, oversample, reach_mm)
    local_mean = cv2.GaussianBlur(pixels, (0, 0), 8 * oversample)
    return MatchImage(pixels - local_mean, camera)


def baseline_angles(cameras: Sequence[Camera], center: NDArray) -> NDArray[np.float64]:
    """(V, V) angles, radians, between the directions from ``center`` (3,) to the cameras."""
    direction = np.stack([camera.center - center for camera in cameras])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.arccos(np.clip(direction @ direction.T, -1, 1))


def choose_pairs(
    cameras: Sequence[Camera], center: NDArray, *, best_deg: float = 22.0, limit: int = 24
) -> list[tuple[int, int]]:
    """Pairs of views with a useful baseline.

    Too small an angle measures depth badly; at too large a one the two photos look different. Every view
    gets its two best partners; the rest are filled up in the order of merit.

    Args:
        cameras: V cameras.
        center: (3,) a point on the face.
        best_deg: angle with the highest merit.
        limit: how many pairs at most, beyond those that every view is owed.

    Returns:
        pairs (i, j), i < j, sorted.
    """
    angle = np.degrees(baseline_angles(cameras, center))
    count = len(cameras)
    i, j = np.triu_indices(count, 1)
    merit = -np.abs(np.log(np.maximum(angle[i, j], 1e-3) / best_deg))
    order = np.argsort(-merit, kind="stable")
    chosen: set[int] = set()
    for view in range(count):
        chosen.update([k for k in order if view in (i[k], j[k])][:2])
    for k in order:
        if len(chosen) >= limit:
            break
        if 5 <= angle[i[k], j[k]] <= 50:
            chosen.add(k)
    return sorted((int(i[k]), int(j[k])) for k in chosen)


# Windows whose luminance varies less than this (standard deviation) carry no information: their correlation
# fades to 0.
NOISE_FLOOR = 0.0005

Pairs = Sequence[tuple[int, int]]


def window_size(sigma: float) -> int:
    """Odd side, texels, of the Gaussian window of standard deviation ``sigma``."""
    return 2 * int(np.ceil(2.5 * sigma)) + 1


def pair_weights(visibility: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float32]:
    """(K, H, W) weight of every pair: both views must see the texel."""
    return np.stack([visibility[i] * visibility[j] for i, j in pairs])


def ncc_scores(
    space: UVDSpace,
    images: Sequence[MatchImage],
    visibility: NDArray[np.float32],
    pairs: Pairs,
    steps: NDArray[np.float64],
    sigma: float,
    *,
    threads: int = 2,
) -> NDArray[np.float32]:
    """Mean correlation of the pairs that see each texel, at each displacement.

    Args:
        space: base surface, (H, H).
        images: V photos from :func:`mesoface.matching.ncc.prepare_image`.
        visibility: (V, H, H) in [0, 1].
        pairs: K pairs of views.
        steps: (D,) displacements, mm.
        sigma: standard deviation of the Gaussian window, texels.
        threads: steps worked on at once.

    Returns:
        (D, H, H) in [-1, 1], 0 where no pair sees the texel.
    """
    base, along = zip(*(project_texels(space, image.camera.P) for image in images), strict=True)
    weights = pair_weights(visibility, pairs)
    total = weights.sum(0)
    inverse_total = np.where(total > 1e-4, 1 / np.maximum(total, 1e-4), 0).astype(np.float32)
    side = window_size(sigma)

    def blur(a: NDArray) -> NDArray:
        return cv2.GaussianBlur(a, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)

    def slice_at(d: float) -> NDArray[np.float32]:
        sample, mean, inverse_std = [], [], []
        for image, b, a in zip(images, base, along, strict=True):
            values = look_up_pixels(image.pixels, b, a, d)
            average = blur(values)
            variance = np.maximum(blur(values * values) - average * average, 0)
            sample.append(values)
            mean.append(average)
            inverse_std.append(1 / np.sqrt(variance + np.float32(NOISE_FLOOR**2)))
        score = np.zeros(space.valid.shape, np.float32)
        for k, (i, j) in enumerate(pairs):
            covariance = blur(sample[i] * sample[j]) - mean[i] * mean[j]
            score += weights[k] * (covariance * (inverse_std[i] * inverse_std[j]))
        return score * inverse_total

    # OpenCV must not use threads of its own inside ours.
    with one_opencv_thread, ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(slice_at, steps)))


def look_up_pixels(
    pixels: NDArray[np.float32], base: NDArray[np.float32], along: NDArray[np.float32], displacement: float
) -> NDArray[np.float32]:
    """Bilinear values of a photo where points of a surface lie in it; beyond its edge those of the edge.

    Positions are exact. OpenCV's ``remap`` rounds them to 1/32 of a pixel.

    Args:
        pixels: (h, w), h and w ≥ 2, centres at integers.
        base: (3, H, W) homogeneous pixels of the surface's points.
        along: (3, H, W) their change per mm of displacement.
        displacement: mm.

    Returns:
        (H, W) float32.
    """
    out = np.empty(base.shape[1:], np.float32)
    _look_up(np.ascontiguousarray(pixels, np.float32), base, along, np.float32(displacement), out)
    return out


# Not the assumption that there is no NaN: a point without a position is looked up at the photo's first pixel.
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _look_up(pixels, base, along, displacement, out):
    height, width = pixels.shape
    zero, last_x, last_y = np.float32(0), np.float32(width - 1), np.float32(height - 1)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            z = base[2, r, c] + along[2, r, c] * displacement
            x = (base[0, r, c] + along[0, r, c] * displacement) / z
            y = (base[1, r, c] + along[1, r, c] * displacement) / z
            x = x if x > zero else zero
            y = y if y > zero else zero
            x = x if x < last_x else last_x
            y = y if y < last_y else last_y
            i, j = min(int(y), height - 2), min(int(x), width - 2)
            fx, fy = x - np.float32(j), y - np.float32(i)
            top = pixels[i, j] + fx * (pixels[i, j + 1] - pixels[i, j])
            bottom = pixels[i + 1, j] + fx * (pixels[i + 1, j + 1] - pixels[i + 1, j])
            out[r, c] = top + fy * (bottom - top)


def project_texels(space: UVDSpace, P: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3, H, W) homogeneous pixels of the base, and their change per mm of displacement."""
    shape = (3, *space.valid.shape)
    position = space.position.reshape(-1, 3).astype(np.float64)
    base = (position @ P[:, :3].T + P[:, 3]).T.reshape(shape)
    along = (space.normal.reshape(-1, 3) @ P[:, :3].T.astype(np.float32)).T.reshape(shape)
    return np.ascontiguousarray(base, np.float32), np.ascontiguousarray(along, np.float32)
