"""Bundle adjustment: cameras, lenses and points that explain what was seen in the photos best.

Levenberg–Marquardt on the reprojection errors with the points eliminated by the Schur complement (Triggs et
al., Bundle Adjustment – A Modern Synthesis, 1999), Cauchy's robust cost, a standard deviation for every
observation and Gaussian priors on points, focal lengths and lens. The priors are why this is not left to
pycolmap: landmarks of a face at arm's length do not tell depth from focal length, and a face model does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from mesoface.face_models.fitting import cauchy
from mesoface.geometry.camera import Camera, OpenCVLens

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_MAX_ITERATIONS = 80
_POSE = 6  # parameters of a view: rotation vector, translation
_OPTICS = 2  # parameters of a camera: log focal length, radial distortion
_NEAREST = 1e-3  # depth, in units of the median: a point behind a camera is taken to be there


@dataclass(frozen=True, eq=False)
class Observations:
    """Points seen in photos.

    Args:
        view: (M,) which photo.
        point: (M,) which point.
        pixels: (M, 2) where.
        sigma: (M,) standard deviation, pixels.
    """

    view: Indices
    point: Indices
    pixels: Array
    sigma: Array


@dataclass(frozen=True, eq=False)
class Bundle:
    """Cameras and points.

    Args:
        R: (V, 3, 3) world → camera.
        t: (V, 3) world units.
        camera_of: (V,) which of the C cameras took each photo.
        focal: (C,) pixels.
        radial: (C,) coefficient of r² (OpenCV's k1).
        center: (V, 2) principal points, pixels; not solved for.
        points: (N, 3) world units.
    """

    R: Array
    t: Array
    camera_of: Indices
    focal: Array
    radial: Array
    center: Array
    points: Array

    def camera(self, view: int, width: int, height: int) -> Camera:
        """The camera of a photo of ``width`` × ``height``."""
        focal, radial = self.focal[self.camera_of[view]], float(self.radial[self.camera_of[view]])
        cx, cy = self.center[view]
        K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        lens = OpenCVLens((radial, 0.0, 0.0, 0.0)) if radial else None
        return Camera(K, self.R[view], self.t[view], width, height, lens)


@dataclass(frozen=True, eq=False)
class Priors:
    """What is known beforehand; a standard deviation of infinity where nothing is.

    Args:
        points: (N, 3) world units.
        point_sigma: (N,) world units.
        focal: (C,) pixels.
        focal_sigma: (C,) of its logarithm.
        radial_sigma: standard deviation of the radial coefficient around 0; 0 keeps it as it is.
    """

    points: Array
    point_sigma: Array
    focal: Array
    focal_sigma: Array
    radial_sigma: float = 0.0


def adjust(start: Bundle, seen: Observations, priors: Priors) -> Bundle:
    """The bundle that fits observations and priors best, from ``start`` downhill.

    Without priors on at least three points the world's place, orientation and scale stay about where they
    were: damping keeps them from drifting.
    """
    bundle, damping, small = start, 1e-3, 0
    linear = _linearise(bundle, seen, priors)
    for _ in range(_MAX_ITERATIONS):
        if small == 2 or damping > 1e9:
            break
        trial = _moved(bundle, *_step(linear, damping))
        trial_cost = cost(trial, seen, priors)
        if not trial_cost <= linear.cost:
            damping *= 8
            continue
        small = small + 1 if linear.cost - trial_cost < 1e-5 * linear.cost else 0
        bundle, damping = trial, max(damping / 8, 1e-9)
        linear = _linearise(bundle, seen, priors)
    return bundle


def residuals(bundle: Bundle, seen: Observations) -> Array:
    """(M, 2) projection minus observation, pixels."""
    return _project(bundle, seen).pixels - seen.pixels


def cost(bundle: Bundle, seen: Observations, priors: Priors) -> float:
    """Half the robust sum of squares that :func:`adjust` minimises."""
    squared = (residuals(bundle, seen) ** 2).sum(1) / seen.sigma**2
    total = cauchy(squared)[0]
    total += 0.5 * float((((bundle.points - priors.points) / priors.point_sigma[:, None]) ** 2).sum())
    total += 0.5 * float((np.log(bundle.focal / priors.focal) ** 2 * priors.focal_sigma**-2.0).sum())
    if priors.radial_sigma > 0:
        total += 0.5 * float((bundle.radial**2).sum()) / priors.radial_sigma**2
    return total


@dataclass(frozen=True, eq=False)
class _Projection:
    """M projected points: pixels (M, 2), and on the way there camera coordinates and ideal (M, 2)."""

    pixels: Array
    in_camera: Array
    ideal: Array
    focal: Array
    radial: Array


def _project(bundle: Bundle, seen: Observations) -> _Projection:
    x = np.einsum("mij,mj->mi", bundle.R[seen.view], bundle.points[seen.point]) + bundle.t[seen.view]
    nearest = _NEAREST * max(float(np.median(np.abs(x[:, 2]))), 1e-12)
    x[:, 2] = np.maximum(x[:, 2], nearest)
    ideal = x[:, :2] / x[:, 2:]
    camera = bundle.camera_of[seen.view]
    focal, radial = bundle.focal[camera], bundle.radial[camera]
    distorted = ideal * (1 + radial * (ideal**2).sum(1))[:, None]
    pixels = focal[:, None] * distorted + bundle.center[seen.view]
    return _Projection(pixels, x, ideal, focal, radial)


@dataclass(frozen=True, eq=False)
class _Linear:
    """Normal equations around a bundle: cameras (P), points (N × 3) and what couples them."""

    cost: float
    H_camera: Array  # (P, P)
    H_point: Array  # (N, 3, 3)
    H_both: csr_array  # (P, 3 N)
    g_camera: Array  # (P,)
    g_point: Array  # (N, 3)


def _linearise(bundle: Bundle, seen: Observations, priors: Priors) -> _Linear:
    projection = _project(bundle, seen)
    error = (projection.pixels - seen.pixels) / seen.sigma[:, None]
    pull = np.sqrt(cauchy((error**2).sum(1))[1])  # square root of the weight of each observation
    by_camera, by_point = _jacobians(bundle, seen, projection, pull / seen.sigma, priors.radial_sigma > 0)
    error = (error * pull[:, None]).ravel()
    H_point = (by_point.T @ by_point).tobsr((3, 3))
    blocks = np.zeros((len(bundle.points), 3, 3))
    blocks[H_point.indices] = H_point.data  # block-diagonal: an observation is of one point
    H_camera = (by_camera.T @ by_camera).toarray()
    g_camera, g_point = by_camera.T @ error, (by_point.T @ error).reshape(-1, 3)

    stiffness = priors.point_sigma**-2.0
    blocks += stiffness[:, None, None] * np.eye(3)
    g_point += stiffness[:, None] * (bundle.points - priors.points)
    focal = _POSE * len(bundle.R) + _OPTICS * np.arange(len(bundle.focal))
    H_camera[focal, focal] += priors.focal_sigma**-2.0
    g_camera[focal] += priors.focal_sigma**-2.0 * np.log(bundle.focal / priors.focal)
    if priors.radial_sigma > 0:
        H_camera[focal + 1, focal + 1] += priors.radial_sigma**-2.0
        g_camera[focal + 1] += priors.radial_sigma**-2.0 * bundle.radial
    else:
        H_camera[focal + 1, focal + 1] = 1.0
    coupled = csr_array(by_camera.T @ by_point)
    return _Linear(cost(bundle, seen, priors), H_camera, blocks, coupled, g_camera, g_point)


def _jacobians(
    bundle: Bundle, seen: Observations, projection: _Projection, scale: Array, with_radial: bool
) -> tuple[csr_array, csr_array]:
    """Derivatives of the weighted residuals, (2 M, P) by cameras and (2 M, 3 N) by points."""
    count, views = len(seen.view), len(bundle.R)
    u, r2 = projection.ideal, (projection.ideal**2).sum(1)
    # pixels by camera coordinates: through the division by depth, the lens and the focal length
    lens = (1 + projection.radial * r2)[:, None, None] * np.eye(2)
    lens += 2 * projection.radial[:, None, None] * u[:, :, None] * u[:, None, :]
    divide = np.concatenate([np.broadcast_to(np.eye(2), (count, 2, 2)), -u[:, :, None]], 2)
    divide = divide / projection.in_camera[:, 2, None, None]
    by_place = (projection.focal * scale)[:, None, None] * lens @ divide  # (M, 2, 3)

    arm = projection.in_camera - bundle.t[seen.view]
    by_turn = np.cross(arm[:, None, :], by_place)  # a small turn w moves x by w × arm
    centered = projection.pixels - bundle.center[seen.view]
    by_focal = scale[:, None] * centered
    by_radial = (projection.focal * scale * r2)[:, None] * u * with_radial
    values = np.concatenate([by_turn, by_place, by_focal[:, :, None], by_radial[:, :, None]], 2)
    pose = _POSE * seen.view[:, None] + np.arange(_POSE)
    optics = _POSE * views + _OPTICS * bundle.camera_of[seen.view][:, None] + np.arange(_OPTICS)
    by_camera = _rows(values, np.concatenate([pose, optics], 1), _POSE * views + _OPTICS * len(bundle.focal))
    places = 3 * seen.point[:, None] + np.arange(3)
    return by_camera, _rows(by_place @ bundle.R[seen.view], places, 3 * len(bundle.points))


def _rows(values: Array, columns: Indices, width: int) -> csr_array:
    """(2 M, width) from (M, 2, K) values in (M, K) columns."""
    count, _, filled = values.shape
    indices = np.repeat(columns, 2, axis=0).ravel()
    return csr_array((values.ravel(), indices, filled * np.arange(2 * count + 1)), shape=(2 * count, width))


def _step(linear: _Linear, damping: float) -> tuple[Array, Array]:
    """(P,) step of the cameras and (N, 3) of the points."""
    diagonal = np.arange(3)
    blocks = linear.H_point.copy()
    # A point that nothing is known of must not make its block singular.
    blocks[:, diagonal, diagonal] = blocks[:, diagonal, diagonal] * (1 + damping) + 1e-12
    inverse = np.linalg.inv(blocks)
    coupled = linear.H_both.toarray().reshape(len(linear.g_camera), -1, 3)
    reduced = np.einsum("pnj,njk->pnk", coupled, inverse)  # (P, N, 3)
    S = linear.H_camera - np.tensordot(reduced, coupled, ([1, 2], [1, 2]))
    rhs = linear.g_camera - np.einsum("pnj,nj->p", reduced, linear.g_point)
    S[np.diag_indices_from(S)] += damping * np.diag(linear.H_camera) + 1e-12
    camera = -np.linalg.solve(S, rhs)
    point = -np.einsum("njk,nk->nj", inverse, linear.g_point + np.einsum("pnj,p->nj", coupled, camera))
    return camera, point


def _moved(bundle: Bundle, camera: Array, point: Array) -> Bundle:
    """The bundle after a step."""
    views = len(bundle.R)
    pose = camera[: _POSE * views].reshape(views, _POSE)
    optics = camera[_POSE * views :].reshape(-1, _OPTICS)
    return replace(
        bundle,
        R=Rotation.from_rotvec(pose[:, :3]).as_matrix() @ bundle.R,
        t=bundle.t + pose[:, 3:],
        focal=bundle.focal * np.exp(np.clip(optics[:, 0], -0.5, 0.5)),
        radial=bundle.radial + optics[:, 1],
        points=bundle.points + point,
    )
