"""Which views tell the same story about the face, and which one contradicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.landmarks.rays import nearest_to_rays, project_all

Array = NDArray[np.float64]

_SAMPLE = 60  # landmarks that vote
_MAX_PAIRS = 400
_ANGLES = np.radians(
    [4.0, 110.0]
)  # between the two views of a pair: below it depth is loose, above it few points are shared
_TOLERANCE = 0.02  # of the face's size: what the detector errs by


def seed_weights(
    cameras: Sequence[Camera], keypoints: Array, rays: Array, weights: Array, sizes: Array
) -> tuple[Array, float]:
    """Robust start for triangulation: the pair of views on which the others agree (exhaustive RANSAC).

    Every pair of views proposes a face; its score is how well all views' landmarks, each in units of the
    face's size in its own photo, agree with it under a Cauchy kernel. Views of equal standing, so a minority
    of wrong cameras loses.

    Args:
        cameras: V cameras.
        keypoints: (V, L, 2) pixels.
        rays: (V, L, 3) unit viewing rays of the keypoints.
        weights: (V, L) detector's confidence.
        sizes: (V,) size of the face in each view, pixels; NaN where it shows none.

    Returns:
        (V, L) weights that start from the winning pair's face, and the largest angle between two views,
        radians.
    """
    centers = np.stack([camera.center for camera in cameras])
    sample = np.argsort(-weights.sum(0), kind="stable")
    sample = np.sort(sample[:: max(1, len(sample) // _SAMPLE)][:_SAMPLE])
    pairs, widest = _pairs(rays, weights)
    best, best_score = weights, -1.0
    for i, j in pairs:
        two = np.zeros((len(cameras), len(sample)))
        two[[i, j]] = np.sqrt(weights[i, sample] * weights[j, sample])
        points = nearest_to_rays(centers, rays[:, sample], two)
        error = relative_errors(cameras, points, keypoints[:, sample], sizes)
        score = float((weights[:, sample] / (1 + (error / _TOLERANCE) ** 2)).sum())
        if score > best_score:
            best_score = score
            two = np.zeros_like(weights)
            two[[i, j]] = np.sqrt(weights[i] * weights[j])
            points = nearest_to_rays(centers, rays, two)
            error = relative_errors(cameras, points, keypoints, sizes)
            # a landmark that the pair does not share starts from all views
            kernel = np.where(np.isfinite(points).all(1), 1 / (1 + (error / _TOLERANCE) ** 2), 1.0)
            best = weights * kernel
    return best, widest


def relative_errors(cameras: Sequence[Camera], points: Array, keypoints: Array, sizes: Array) -> Array:
    """(V, L) reprojection errors in face sizes; infinite where there is no point before the camera."""
    pixels, _ = project_all(cameras, points)
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(pixels - keypoints, axis=-1) / sizes[:, None]
    return np.where(np.isfinite(error), error, np.inf)


def view_errors(errors: Array, weights: Array) -> Array:
    """(V,) weighted lower quartile of each view's errors (V, L): how far off it is; NaN without landmarks.

    The quartile rather than the median: in a profile most of the landmarks are poor although the camera is
    right, while under a wrong camera hardly one is good.
    """
    result = np.full(len(errors), np.nan)
    for v, (error, weight) in enumerate(zip(errors, weights, strict=True)):
        if weight.sum() > 0:
            order = np.argsort(error)
            share = np.cumsum(weight[order])
            result[v] = error[order][np.searchsorted(share, share[-1] / 4)]
    return result


def _pairs(rays: Array, weights: Array) -> tuple[list[tuple[int, int]], float]:
    """Pairs of views with a useful angle between them, thinned evenly, and the largest angle, radians."""
    seen = [v for v in range(len(rays)) if (weights[v] > 0).any()]
    axes = {v: np.average(rays[v], axis=0, weights=weights[v]) for v in seen}
    angles = {
        (i, j): float(
            np.arccos(np.clip(axes[i] @ axes[j] / np.linalg.norm(axes[i]) / np.linalg.norm(axes[j]), -1, 1))
        )
        for i, j in combinations(seen, 2)
    }
    useful = [pair for pair, angle in angles.items() if _ANGLES[0] <= angle <= _ANGLES[1]] or list(angles)
    return useful[:: -(-len(useful) // _MAX_PAIRS)], max(angles.values(), default=0.0)
