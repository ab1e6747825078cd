"""Landmarks of several photos → landmarks in space, whatever single points and single views say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import LandmarkError
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks.consensus import relative_errors, seed_weights, view_errors
from mesoface.landmarks.rays import nearest_to_rays, project_all, viewing_rays
from mesoface.landmarks.surface import facing_weight, landmark_normals
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

_MIN_ANGLE = np.radians(2.0)  # between the two views that are furthest apart
_ROUNDS, _STEPS = 4, 6
_KERNEL = 2.0  # width of the Cauchy kernel, in median errors
_MIN_KERNEL = 0.002  # face sizes: no detector is better than that
# A view is distrusted when its error is beyond both: so many median views' errors, and this share of the
# face.
_OUTLYING, _CONTRADICTING = 3.0, 0.045
_HIDDEN, _SEEN = -0.4, 0.3  # cosine between skin and view: below it a view does not count, above it fully


def triangulate(cameras: Sequence[Camera], landmarks: Landmarks2D) -> Landmarks3D:
    """Robust multi-view triangulation.

    1. The pair of views on which the others agree best gives the start (:func:`.consensus.seed_weights`).
    2. Iteratively reweighted least squares per landmark: distances to the rays, in units of the face's size
       in each view, under a Cauchy kernel whose width is the median error.
    3. Between the rounds, views that contradict the others as a whole are distrusted and left out, and a
       view's say on a point fades as the skin there, by the triangulated surface, turns away from it.

    Args:
        cameras: V cameras. With a lens, the landmarks are in distorted pixels.
        landmarks: of their photos.

    Returns:
        points, contributions, reprojection errors and the distrusted views.

    Raises:
        ValueError: the numbers of cameras and of views differ.
        LandmarkError: fewer than two views have landmarks, or all views look at the face from one direction.
    """
    if len(cameras) != len(landmarks.points):
        raise ValueError(f"{len(cameras)} cameras for landmarks in {len(landmarks.points)} views")
    known = np.isfinite(landmarks.points).all(-1) & (landmarks.weights > 0)
    if known.any(1).sum() < 2:
        raise LandmarkError(
            f"landmarks in {known.any(1).sum()} of {len(cameras)} views; at least two are needed",
            remedy="add photos that show the face",
        )
    trust = np.where(known, landmarks.weights, 0.0)
    keypoints = np.where(known[..., None], landmarks.points, 0.0)
    centers = np.stack([camera.center for camera in cameras])
    rays = viewing_rays(cameras, keypoints)
    sizes = _face_sizes(np.where(known[..., None], landmarks.points, np.nan))

    weights, widest = seed_weights(cameras, keypoints, rays, trust, sizes)
    if widest < _MIN_ANGLE:
        raise LandmarkError(
            f"all views look at the face from the same direction (at most {np.degrees(widest):.2f}° apart)",
            remedy="that gives no depth: add views from other sides, or check the camera poses",
        )
    prior, distrusted = trust, np.zeros(len(cameras), bool)
    points = nearest_to_rays(centers, rays, weights)
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            errors = relative_errors(cameras, points, keypoints, sizes)
            width = max(_MIN_KERNEL, _KERNEL * _median(errors, prior))
            weights = prior / (1 + (errors / width) ** 2)
            scale = (
                _pixels_per_unit(cameras, points) / sizes[:, None]
            )  # of a distance at the point, in face sizes
            points = nearest_to_rays(centers, rays, np.nan_to_num(weights * scale**2))
        errors = relative_errors(cameras, points, keypoints, sizes)
        distrusted = _contradicting(view_errors(errors, trust))
        prior = trust * _facing(points, centers, landmarks.scheme) * ~distrusted[:, None]
    pixels, _ = project_all(cameras, points)
    residuals = np.where(known, np.linalg.norm(pixels - keypoints, axis=-1), np.nan)
    lost = ~np.isfinite(points).all(1)
    return Landmarks3D(points, np.where(lost, 0.0, weights), residuals, distrusted, landmarks.scheme)


def _contradicting(errors: Array) -> NDArray[np.bool_]:
    """(V,) views that are far off as a whole; none when only two speak: neither can be told wrong."""
    if np.isfinite(errors).sum() < 3:
        return np.zeros(len(errors), bool)
    with np.errstate(invalid="ignore"):
        return errors > max(_CONTRADICTING, _OUTLYING * float(np.nanmedian(errors)))


def _facing(points: Array, centers: Array, scheme: str) -> Array:
    """(V, L) how much the skin at each point faces each camera, in [0, 1]; 1 where its normal is unknown."""
    towards = unit(centers - np.nanmean(points, 0)).mean(0)
    normals = landmark_normals(points, scheme, towards)
    cosine = np.einsum("vlk,lk->vl", unit(centers[:, None] - points), normals)
    return np.where((normals != 0).any(1), facing_weight(cosine, _HIDDEN, _SEEN), 1.0)


def _pixels_per_unit(cameras: Sequence[Camera], points: Array) -> Array:
    """(V, L) pixels that a world unit across the ray covers at each point."""
    return np.stack(
        [np.sqrt(camera.K[0, 0] * camera.K[1, 1]) / camera.project(points)[1] for camera in cameras]
    )


def _face_sizes(points: Array) -> Array:
    """(V,) √2 times the RMS distance of the landmarks from their middle, pixels: about half a face."""
    count = np.isfinite(points).all(-1).sum(1)
    middle = np.nansum(points, 1, keepdims=True) / np.maximum(count, 1)[:, None, None]
    sizes = np.sqrt(2 * np.nansum((points - middle) ** 2, (1, 2)) / np.maximum(count, 1))
    return np.where(count > 0, sizes, np.nan)


def _median(errors: Array, weights: Array) -> float:
    """Median error of the landmarks that count."""
    counted = errors[(weights > 0.1) & np.isfinite(errors)]
    return float(np.median(counted)) if len(counted) else np.inf
