"""Points from rays: the linear algebra under triangulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera

Array = NDArray[np.float64]


def viewing_rays(cameras: Sequence[Camera], keypoints: Array) -> Array:
    """Unit directions in the world of the rays through pixels.

    Args:
        cameras: V cameras.
        keypoints: (V, N, 2) pixels; NaN gives NaN.

    Returns:
        (V, N, 3).
    """
    return np.stack([camera.rays(xy) for camera, xy in zip(cameras, keypoints, strict=True)])


def nearest_to_rays(origins: Array, directions: Array, weights: Array) -> Array:
    """The points with the least weighted sum of squared distances to their rays.

    Solves ``Σ w (I - d dᵀ) x = Σ w (I - d dᵀ) c`` for every point.

    Args:
        origins: (V, 3) optical centres.
        directions: (V, N, 3) unit directions; not read where the weight is 0.
        weights: (V, N), ≥ 0.

    Returns:
        (N, 3); NaN where fewer than two rays count or all of them are parallel.
    """
    d = np.where(weights[..., None] > 0, directions, 0.0)
    along = np.einsum("vnk,vk->vn", d, origins)
    total = weights.sum(0)
    A = total[:, None, None] * np.eye(3) - np.einsum("vn,vni,vnj->nij", weights, d, d)
    b = weights.T @ origins - np.einsum("vn,vni->ni", weights * along, d)
    # The smallest eigenvalue over the total weight is the mean squared sine between the rays and their axis.
    usable = (weights > 0).sum(0) >= 2
    usable[usable] = np.linalg.eigvalsh(A[usable])[:, 0] > 1e-9 * total[usable]
    points = np.full((len(total), 3), np.nan)
    points[usable] = np.linalg.solve(A[usable], b[usable][..., None])[..., 0]
    return points


def closest_points_to_rays(cameras: Sequence[Camera], keypoints: Array) -> Array:
    """The points closest to the rays of all views, every view counting the same.

    Args:
        cameras: V cameras.
        keypoints: (V, N, 2) pixels; NaN where a view does not have the point.

    Returns:
        (N, 3) world points; NaN where fewer than two views have the point.
    """
    keypoints = np.asarray(keypoints, np.float64)
    weights = np.isfinite(keypoints).all(-1).astype(np.float64)
    centers = np.stack([camera.center for camera in cameras])
    return nearest_to_rays(centers, viewing_rays(cameras, keypoints), weights)


def project_all(cameras: Sequence[Camera], points: Array) -> tuple[Array, Array]:
    """(N, 3) world points → (V, N, 2) pixels and (V, N) depths in every camera."""
    projected = [camera.project(points) for camera in cameras]
    return np.stack([xy for xy, _ in projected]), np.stack([depth for _, depth in projected])
