"""Landmarks of several photos → landmarks in space, robust against wrong points and wrong views.

In this order: rays through pixels and the points nearest to them; which views agree about the face, and which
one contradicts the others; the triangulation; which way the skin faces at each landmark, by the normals of
the landmarks' own mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from mesoface.errors import LandmarkError
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh, unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

_SAMPLE = 60  # landmarks that vote
_MAX_PAIRS = 400
# Between the two views of a pair: below the first depth is loose, above the second few points are shared.
_ANGLES = np.radians([4.0, 110.0])
_TOLERANCE = 0.02  # of the face's size: the detector's error
_MIN_ANGLE = np.radians(2.0)  # between the two views that are furthest apart
_ROUNDS, _STEPS = 4, 6
_KERNEL = 2.0  # width of the Cauchy kernel, in median errors
_MIN_KERNEL = 0.002  # face sizes: no detector is better than that
# A view is distrusted when its error exceeds both so many times the views' median and this share of the face.
_OUTLYING, _CONTRADICTING = 3.0, 0.045
_HIDDEN, _SEEN = -0.4, 0.3  # cosine between skin and view: below it a view does not count, above it fully
# Top of the forehead, below it, and beside it on the subject's left: counter-clockwise seen from outside.
_SEED = (10, 151, 338)
IRIS_OF_EYE = {(33, 133): range(468, 473), (362, 263): range(473, 478)}
"""MediaPipe's irises by the corners of their eyes."""


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

    def face_of(i: int, j: int, some: Any = np.s_[:]) -> tuple[Array, Array]:
        """The pair's points for some landmarks, and (V, N) 1 + squared errors of all views, in tolerances."""
        two = np.zeros_like(weights[:, some])
        two[[i, j]] = np.sqrt(weights[i, some] * weights[j, some])
        points = nearest_to_rays(centers, rays[:, some], two)
        error = relative_errors(cameras, points, keypoints[:, some], sizes)
        return points, 1 + (error / _TOLERANCE) ** 2

    pairs, widest = _pairs(rays, weights)
    scores = [float((weights[:, sample] / face_of(i, j, sample)[1]).sum()) for i, j in pairs]
    points, off = face_of(*pairs[int(np.argmax(scores))])
    # a landmark that the pair does not share starts from all views
    return weights * np.where(np.isfinite(points).all(1), 1 / off, 1.0), widest


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
    angles = {}
    for i, j in combinations(seen, 2):
        cosine = axes[i] @ axes[j] / np.linalg.norm(axes[i]) / np.linalg.norm(axes[j])
        angles[i, j] = float(np.arccos(np.clip(cosine, -1, 1)))
    useful = [pair for pair, angle in angles.items() if _ANGLES[0] <= angle <= _ANGLES[1]] or list(angles)
    return useful[:: -(-len(useful) // _MAX_PAIRS)], max(angles.values(), default=0.0)


def triangulate(cameras: Sequence[Camera], landmarks: Landmarks2D) -> Landmarks3D:
    """Robust multi-view triangulation.

    1. The pair of views on which the others agree best gives the start (:func:`seed_weights`).
    2. Iteratively reweighted least squares per landmark: distances to the rays, in units of the face's size
       in each view, under a Cauchy kernel whose width is the median error.
    3. Between the rounds, views that contradict the others as a whole are distrusted and left out, and a
       view's weight on a point falls as the skin there, by the triangulated surface, turns away from it.

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
        what = f"landmarks in {known.any(1).sum()} of {len(cameras)} views; at least two are needed"
        raise LandmarkError(what, remedy="add photos that show the face")
    trust = np.where(known, landmarks.weights, 0.0)
    keypoints = np.where(known[..., None], landmarks.points, 0.0)
    centers = np.stack([camera.center for camera in cameras])
    rays = viewing_rays(cameras, keypoints)
    sizes = _face_sizes(np.where(known[..., None], landmarks.points, np.nan))

    weights, widest = seed_weights(cameras, keypoints, rays, trust, sizes)
    if widest < _MIN_ANGLE:
        what = f"all views look at the face from the same direction (at most {np.degrees(widest):.2f}° apart)"
        remedy = "that gives no depth: add views from other sides, or check the camera poses"
        raise LandmarkError(what, remedy=remedy)
    prior, distrusted = trust, np.zeros(len(cameras), bool)
    points = nearest_to_rays(centers, rays, weights)
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            errors = relative_errors(cameras, points, keypoints, sizes)
            width = max(_MIN_KERNEL, _KERNEL * _median(errors, prior))
            weights = prior / (1 + (errors / width) ** 2)
            # face sizes in each view that a world unit at the point covers
            scale = _pixels_per_unit(cameras, points) / sizes[:, None]
            points = nearest_to_rays(centers, rays, np.nan_to_num(weights * scale**2))
        errors = relative_errors(cameras, points, keypoints, sizes)
        distrusted = _contradicting(view_errors(errors, trust))
        prior = trust * _facing(points, centers, landmarks.scheme) * ~distrusted[:, None]
    pixels, _ = project_all(cameras, points)
    residuals = np.where(known, np.linalg.norm(pixels - keypoints, axis=-1), np.nan)
    lost = ~np.isfinite(points).all(1)
    return Landmarks3D(points, np.where(lost, 0.0, weights), residuals, distrusted, landmarks.scheme)


def _contradicting(errors: Array) -> NDArray[np.bool_]:
    """(V,) views that are far off as a whole; none with two views, where either may be the wrong one."""
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
    focal = np.array([np.sqrt(camera.K[0, 0] * camera.K[1, 1]) for camera in cameras])
    return focal[:, None] / project_all(cameras, points)[1]


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


@cache
def mediapipe_faces() -> NDArray[np.int64]:
    """(852, 3) triangles over the first 468 points of MediaPipe's face mesh, counter-clockwise from outside.

    MediaPipe publishes the mesh as a set of edges; its triangles are the 3-cliques of that graph.
    """
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbours: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cliques = {
        (a, b, c)
        for a in neighbours
        for b in neighbours[a]
        if a < b
        for c in neighbours[a] & neighbours[b]
        if b < c
    }
    around: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for clique in cliques:
        for edge in combinations(clique, 2):
            around.setdefault(edge, []).append(clique)
    # A clique that is closed on all three sides by two others is the rim of a hole (a nostril), not a face.
    rims = {clique for clique in cliques if all(len(around[edge]) > 2 for edge in combinations(clique, 2))}
    wound, front = {tuple(sorted(_SEED)): _SEED}, [_SEED]
    while front:
        a, b, c = front.pop()
        for u, v in ((a, b), (b, c), (c, a)):
            for clique in around[min(u, v), max(u, v)]:
                if clique not in wound and clique not in rims:
                    w = sum(clique) - u - v
                    wound[clique] = (v, u, w)  # the neighbour runs along the shared edge the other way
                    front.append((v, u, w))
    return np.array([wound[key] for key in sorted(wound)], np.int64)


def landmark_faces(
    points: NDArray[np.float64], scheme: str, towards: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Triangles between the landmarks, counter-clockwise from outside.

    Args:
        points: (L, 3); NaN where unknown.
        scheme: ``"mediapipe478"`` brings its own mesh; any other is meshed as a height field over the plane
            across ``towards`` (Delaunay).
        towards: (3,) direction from the face to the viewers; read only for the latter.

    Returns:
        (F, 3), only between known points.
    """
    known = np.isfinite(points).all(1)
    if scheme == "mediapipe478":
        faces = mediapipe_faces()
        return faces[known[faces].all(1)]
    ids = np.flatnonzero(known)
    if len(ids) < 4:
        return np.zeros((0, 3), np.int64)
    outwards = unit(towards)
    side = np.cross(outwards, np.eye(3)[np.argmin(np.abs(outwards))])
    plane = np.stack([unit(side), np.cross(outwards, unit(side))])
    faces = Delaunay(points[ids] @ plane.T).simplices
    a, b, c = points[ids][faces.T]
    away = np.cross(b - a, c - a) @ outwards < 0  # scipy does not promise a winding
    faces[away] = faces[away][:, ::-1]
    return ids[faces]


def landmark_normals(
    points: NDArray[np.float64], scheme: str, towards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(L, 3) outward unit normals of the skin, zero where unknown; arguments as :func:`landmark_faces`."""
    faces = landmark_faces(points, scheme, towards)
    normals = Mesh(np.nan_to_num(points), faces).vertex_normals()
    if scheme == "mediapipe478":  # the eyeballs are holes in the mesh
        for corners, iris in IRIS_OF_EYE.items():
            normals[iris] = unit(normals[list(corners)].sum(0))
    return normals


def facing_weight(cosine: NDArray[np.float64], dark: float, full: float) -> NDArray[np.float64]:
    """Smooth step from 0 at ``dark`` to 1 at ``full`` of the cosine between normal and view."""
    x = np.clip((cosine - dark) / (full - dark), 0, 1)
    return x * x * (3 - 2 * x)
