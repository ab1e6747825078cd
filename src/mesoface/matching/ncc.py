"""Photo-consistency in UVD space: windowed normalised cross-correlation between pairs of views.

For a texel at displacement d, every view is sampled at the texels around it *at the same d*, so that the
window lies on a copy of the base surface and slanted skin needs no correction. The fast path uses
OpenCV's filters on each step's slice; :mod:`mesoface.matching.ncc_torch` is its readable twin, which
runs on any torch device, and the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.matching.images import MatchImage
from mesoface.running.process import one_opencv_thread
from mesoface.uvd.space import UVDSpace

# Windows whose luminance varies less than this (standard deviation) say nothing: their correlation
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
        images: V photos from :func:`mesoface.matching.images.prepare_image`.
        visibility: (V, H, H) in [0, 1].
        pairs: K pairs of views.
        steps: (D,) displacements, mm.
        sigma: standard deviation of the Gaussian window, texels.
        threads: steps worked on at once.

    Returns:
        (D, H, H) in [-1, 1], 0 where no pair sees the texel.
    """
    base, along = zip(*(_project(space, image.camera.P) for image in images), strict=True)
    weights = pair_weights(visibility, pairs)
    total = weights.sum(0)
    inverse_total = np.where(total > 1e-4, 1 / np.maximum(total, 1e-4), 0).astype(np.float32)
    side = window_size(sigma)

    def blur(a: NDArray) -> NDArray:
        return cv2.GaussianBlur(a, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)

    def slice_at(d: float) -> NDArray[np.float32]:
        sample, mean, inverse_std = [], [], []
        for image, b, a in zip(images, base, along, strict=True):
            x, y, z = (b[k] + a[k] * np.float32(d) for k in range(3))
            values = cv2.remap(image.pixels, x / z, y / z, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
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


def _project(space: UVDSpace, P: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3, H, W) homogeneous pixels of the base, and their change per mm of displacement."""
    shape = (3, *space.valid.shape)
    position = space.position.reshape(-1, 3).astype(np.float64)
    base = (position @ P[:, :3].T + P[:, 3]).T.reshape(shape)
    along = (space.normal.reshape(-1, 3) @ P[:, :3].T.astype(np.float32)).T.reshape(shape)
    return np.ascontiguousarray(base, np.float32), np.ascontiguousarray(along, np.float32)
