"""Fitting a face model to landmarks: joint robust non-linear least squares with the model's prior.

Pose, scale, identity and expression are solved for together by Levenberg–Marquardt on the reprojection
errors in all views, with Cauchy's robust cost and the energy ``|z|²/2`` of the model's Gaussian prior
(the maximum a posteriori fit of Blanz & Vetter, SIGGRAPH 1999, from landmarks). Blendshape weights keep to
their bounds by a projected active set (Bertsekas, 1982).

What is fitted to, landmarks in the photos or in space, is a function of the landmarks' world positions alone.
It gives its robust cost, gradient and Gauss–Newton Hessian per landmark (3 and 3 × 3 numbers), whatever the
number of views: the normal equations are assembled from L small blocks instead of V · L rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.errors import LandmarkError
from mesoface.face_models.correspondence import SLIDING
from mesoface.face_models.model import FaceFit, FaceModel
from mesoface.geometry.alignment import align_points_robustly
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D

Array = NDArray[np.float64]

DETECTOR_MM = 0.7
"""Noise of a detected landmark on the face, about 1 % of the distance between the eyes."""
EMBEDDING_MM = 2.0
"""How far a landmark of one person lies from where the model has it: shared by all views, so that more
views do not average it away."""
TRUSTED_TURN = np.radians(30)
"""Detectors drift as the face turns away, all points of a view together: from about this angle between the
viewing direction and the face's own a view's weight falls off (by half here, to 1/10 at 43°, 1/70 at 60°)."""
SLIDING_FACTOR = 3.0
"""Points of the face's outline slide with the view: their noise is this much larger."""
HEAD_SIZE_SPREAD = 0.05
"""Heads differ by some 5 % in size: what the mean face's alignment tells about an unknown scale. A bilinear
model needs it, for its identity factors can grow all together as the scale shrinks."""
CAUCHY = 2.5
"""Residuals past this many standard deviations lose their pull."""
MIN_LANDMARKS = 12
MAX_ITERATIONS = 60


def fit_face(
    model: FaceModel,
    cameras: Sequence[Camera],
    landmarks2d: Landmarks2D,
    landmarks3d: Landmarks3D,
    *,
    fix_scale: float | None = None,
) -> FaceFit:
    """Fit ``model`` to the landmarks in all views.

    Args:
        model: any face model that has a place for the landmarks' scheme.
        cameras: V cameras without a lens.
        landmarks2d: landmarks in the photos.
        landmarks3d: the same, triangulated: where the fit begins, and which views each point is trusted in.
        fix_scale: world units per millimetre where it is known (1 in a metric world); None to have it
            estimated, which the model's prior on the size of heads makes possible, to a few per cent.

    Raises:
        LandmarkError: the model has no place for these landmarks, or too few of them were found.
    """
    ids, corners, bary = embedding(model, landmarks2d.scheme, landmarks3d.points.shape[0])
    weights = np.where(np.isfinite(landmarks2d.weights) & (landmarks2d.weights > 0), landmarks3d.weights, 0)
    weights = np.where(landmarks3d.distrusted[:, None], 0.0, weights)[:, ids]
    start = _start(model, corners, bary, landmarks3d.points[ids], fix_scale)
    center = start.points(model, corners, bary)[0].mean(0)
    frontal = _turn_weights(cameras, center, start.R[:, 2])
    # Where no view is from the front, the best one still counts in full.
    seen = (weights > 0).any(1)
    weights = weights * (frontal / frontal[seen].max(initial=1e-9))[:, None]

    sigma_mm = np.where(np.isin(ids, SLIDING[landmarks2d.scheme]), SLIDING_FACTOR, 1.0)
    # n measurements with a common error carry the information n / (noise² + n · common²).
    sigma_mm = sigma_mm * np.sqrt(DETECTOR_MM**2 + np.nansum(weights, 0) * EMBEDDING_MM**2)
    focal = np.array([np.sqrt(camera.K[0, 0] * camera.K[1, 1]) for camera in cameras])
    depth = np.array([camera.to_camera(center)[2] for camera in cameras])
    pixels_per_unit = focal / np.where(depth > 0, depth, np.inf)
    sigma = start.scale * sigma_mm * np.maximum(pixels_per_unit, 1e-9)[:, None]
    weights = np.where(depth[:, None] > 0, weights, 0.0)
    measured = ImageLandmarks.of(cameras, landmarks2d.points[:, ids], weights, sigma)

    state, iterations = _minimise(start, model, corners, bary, measured, fix_scale is None)
    points = state.points(model, corners, bary)[0]
    return _result(model, state, measured.residuals(points), iterations)


def fit_landmarks3d(
    model: FaceModel,
    points: Array,
    *,
    scheme: str = "ibug68",
    weights: Array | None = None,
    fix_scale: float | None = None,
    noise_mm: float = 1.0,
) -> FaceFit:
    """Fit ``model`` to landmarks in space.

    Args:
        model: any face model that has a place for the landmarks' scheme.
        points: (L, 3) world units; NaN where there is none.
        scheme: which landmarks these are.
        weights: (L,) in [0, 1], or None for equal ones.
        fix_scale: world units per millimetre where it is known, else None.
        noise_mm: standard deviation of the landmarks, millimetres: what the prior is weighed against.

    Returns:
        the fit; its ``residuals`` are (1, L') distances in world units here.

    Raises:
        LandmarkError: the model has no place for these landmarks, or too few of them are there.
    """
    ids, corners, bary = embedding(model, scheme, len(points))
    target = np.asarray(points, np.float64)[ids]
    start = _start(model, corners, bary, target, fix_scale)
    seen = np.isfinite(target).all(1)
    weight = np.where(seen, 1.0 if weights is None else np.asarray(weights, np.float64)[ids], 0.0)
    sigma = np.full(len(ids), noise_mm * start.scale)
    measured = SpatialLandmarks(target, weight, sigma)
    state, iterations = _minimise(start, model, corners, bary, measured, fix_scale is None)
    distance = np.linalg.norm(state.points(model, corners, bary)[0] - target, axis=1)
    return _result(model, state, distance[None], iterations)


@dataclass(frozen=True, eq=False)
class _State:
    """``world = scale · R · model(z) + t``; z is identity, then expression."""

    R: Array
    t: Array
    scale: float
    z: Array

    def points(self, model: FaceModel, corners: NDArray, bary: Array) -> tuple[Array, Array]:
        """(L, 3) world points and (L, 3, M) their derivative with respect to z."""
        points, jacobian = model.points(self.z[: model.n_identity], self.z[model.n_identity :], corners, bary)
        turn = self.scale * self.R
        return points @ turn.T + self.t, np.einsum("ij,ljm->lim", turn, jacobian)

    def moved(self, step: Array, center: Array, bounds: tuple[Array, Array] | None) -> _State:
        """Rotate (3) and scale (log, 1) about ``center``, then translate (3); add the rest to z."""
        turn, growth = Rotation.from_rotvec(step[:3]).as_matrix(), float(np.exp(step[6]))
        z = self.z + step[7:]
        if bounds is not None:
            z = np.clip(z, *bounds)
        t = center + growth * turn @ (self.t - center) + step[3:6]
        return _State(turn @ self.R, t, self.scale * growth, z)


def embedding(
    model: FaceModel, scheme: str, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Which landmarks the model has (L',), their triangles' corners (L', 3) and where in them (L', 3).

    Args:
        model: any face model.
        scheme: which landmarks these are.
        count: how many of them there are.

    Raises:
        LandmarkError: the model has no place for them.
    """
    topology = model.topology
    if scheme not in topology.landmark_ids:
        known = ", ".join(sorted(topology.landmark_ids)) or "none"
        what = f"the face model '{model.name}' has no place for the landmarks '{scheme}' (it has: {known})"
        raise LandmarkError(what, remedy="use another face model, or landmarks of a scheme that it has")
    ids, triangles, bary = topology.landmarks(scheme)
    keep = ids < count
    return ids[keep], topology.faces[triangles[keep]], bary[keep]


def _start(model: FaceModel, corners: NDArray, bary: Array, target: Array, fix_scale: float | None) -> _State:
    """The mean face (or the nearest that the bounds allow), moved robustly onto the landmarks."""
    z = np.zeros(model.n_identity + model.n_expression)
    if model.bounds is not None:
        z = np.clip(z, *model.bounds)
    seen = np.isfinite(target).all(1)
    if seen.sum() < MIN_LANDMARKS:
        what = f"only {int(seen.sum())} landmarks could be located in space, {MIN_LANDMARKS} are needed"
        remedy = "add views in which the face is seen from nearby directions, or check the calibration"
        raise LandmarkError(what, remedy=remedy)
    points, _ = model.points(z[: model.n_identity], z[model.n_identity :], corners, bary)
    motion = align_points_robustly(points[seen], target[seen], scale=fix_scale)
    return _State(motion.R, motion.t, motion.scale, z)


def _turn_weights(cameras: Sequence[Camera], center: Array, facing: Array) -> Array:
    """(V,) weight of each view by how far the face, at ``center`` and looking along ``facing``, is turned."""
    towards = unit(np.stack([camera.center for camera in cameras]) - center)
    turn = np.arccos(np.clip(towards @ facing, -1, 1))
    return 1 / (1 + (turn / TRUSTED_TURN) ** 6)


def _minimise(
    state: _State,
    model: FaceModel,
    corners: NDArray,
    bary: Array,
    measured: ImageLandmarks | SpatialLandmarks,
    free_scale: bool,
) -> tuple[_State, int]:
    """Levenberg–Marquardt from ``state``. Returns the minimum and the number of steps tried."""
    bounds, first_scale, stiffness = model.bounds, state.scale, HEAD_SIZE_SPREAD**-2

    def prior(state: _State) -> float:
        return 0.5 * float(state.z @ state.z) + 0.5 * stiffness * np.log(state.scale / first_scale) ** 2

    points, jacobian = state.points(model, corners, bary)
    local = measured.at(points)
    cost = local.cost + prior(state)
    damping, small, iteration = 1e-3, 0, 0
    while iteration < MAX_ITERATIONS and small < 2 and damping < 1e9:
        iteration += 1
        center = points.mean(0)
        J = np.concatenate([_pose_jacobian(points - center, free_scale), jacobian], 2)  # (L, 3, 7 + M)
        flat = J.reshape(-1, J.shape[2])
        H = flat.T @ (local.hessian @ J).reshape(flat.shape)
        g = flat.T @ local.gradient.ravel()
        g[7:] += state.z
        H[np.arange(7, len(g)), np.arange(7, len(g))] += 1.0
        g[6] += stiffness * np.log(state.scale / first_scale)
        H[6, 6] += stiffness
        H[np.diag_indices_from(H)] *= 1 + damping
        step = _bounded_step(H, g, *_room(state.z, bounds, free_scale))
        trial = state.moved(step, center, bounds)
        trial_points, trial_jacobian = trial.points(model, corners, bary)
        trial_local = measured.at(trial_points)
        trial_cost = trial_local.cost + prior(trial)
        if not trial_cost <= cost:
            damping *= 8
            continue
        small = small + 1 if cost - trial_cost < 1e-4 * cost + 1e-12 else 0
        state, points, jacobian, local, cost = trial, trial_points, trial_jacobian, trial_local, trial_cost
        damping = max(damping / 8, 1e-9)
    return state, iteration


def _room(z: Array, bounds: tuple[Array, Array] | None, free_scale: bool) -> tuple[Array, Array]:
    """Smallest and largest step (7 + M,) of pose, log-scale and coefficients."""
    low, high = np.full(7 + len(z), -np.inf), np.full(7 + len(z), np.inf)
    if bounds is not None:
        low[7:], high[7:] = bounds[0] - z, bounds[1] - z
    if not free_scale:
        low[6] = high[6] = 0.0
    return low, high


def _bounded_step(H: Array, g: Array, low: Array, high: Array) -> Array:
    """The step that minimises ``½ sᵀHs + gᵀs`` with low ≤ s ≤ high, by an active set that only grows."""
    step = np.zeros(len(g))
    free = (low < high) & ~((low >= 0) & (g > 0)) & ~((high <= 0) & (g < 0))
    while free.any():
        pull = g[free] + H[np.ix_(free, ~free)] @ step[~free]
        step[free] = -scipy.linalg.solve(H[np.ix_(free, free)], pull, assume_a="pos")
        beyond = free & ((step < low) | (step > high))
        if not beyond.any():
            break
        step[beyond] = np.clip(step, low, high)[beyond]
        free &= ~beyond
    return step


def _pose_jacobian(arm: Array, free_scale: bool) -> Array:
    """(L, 3, 7) derivative by rotation vector, translation and log-scale; ``arm`` (L, 3) = point − centre."""
    x, y, z = arm.T
    out = np.zeros((len(arm), 3, 7))
    out[:, 0, 1], out[:, 0, 2] = z, -y
    out[:, 1, 0], out[:, 1, 2] = -z, x
    out[:, 2, 0], out[:, 2, 1] = y, -x
    out[:, :, 3:6] = np.eye(3)
    if free_scale:
        out[:, :, 6] = arm
    return out


def _result(model: FaceModel, state: _State, residuals: Array, iterations: int) -> FaceFit:
    identity, expression = state.z[: model.n_identity], state.z[model.n_identity :]
    # Small rotations were multiplied up: remove the rounding before anything is built on R.
    u, _, vt = np.linalg.svd(state.R)
    R = u @ vt
    vertices = state.scale * model.shape(identity, expression) @ R.T + state.t
    return FaceFit(model, identity, expression, R, state.t, state.scale, vertices, residuals, iterations)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Second-order model of a cost around L world points.

    Args:
        cost: its value.
        gradient: (L, 3).
        hessian: (L, 3, 3), positive semi-definite (Gauss–Newton).
    """

    cost: float
    gradient: Array
    hessian: Array


@dataclass(frozen=True, eq=False)
class SpatialLandmarks:
    """Landmarks measured in space.

    Args:
        points: (L, 3) world units; rows without weight are ignored.
        weights: (L,) in [0, 1].
        sigma: (L,) standard deviation, world units.
    """

    points: Array
    weights: Array
    sigma: Array

    def at(self, points: Array) -> Quadratic:
        """The cost around (L, 3) ``points``."""
        used = self.weights > 0
        offset = np.where(used[:, None], points - np.where(used[:, None], self.points, 0), 0)
        error = offset / self.sigma[:, None]
        cost, pull = cauchy((error**2).sum(1), self.weights)
        pull = pull / self.sigma
        return Quadratic(cost, error * pull[:, None], (pull / self.sigma)[:, None, None] * np.eye(3))


@dataclass(frozen=True, eq=False)
class ImageLandmarks:
    """Landmarks measured in photos.

    Args:
        P: (V, 3, 4) projection matrices of undistorted views.
        pixels: (V, L, 2); entries without weight are ignored.
        weights: (V, L) in [0, 1].
        sigma: (V, L) standard deviation, pixels.
    """

    P: Array
    pixels: Array
    weights: Array
    sigma: Array

    @classmethod
    def of(cls, cameras: Sequence[Camera], pixels: Array, weights: Array, sigma: Array) -> ImageLandmarks:
        """From ``cameras`` without a lens; entries that are not finite get no weight."""
        seen = np.isfinite(pixels).all(2) & np.isfinite(weights) & (weights > 0)
        P = np.stack([camera.P for camera in cameras])
        return cls(P, np.where(seen[..., None], pixels, 0.0), np.where(seen, weights, 0.0), sigma)

    def project(self, points: Array) -> tuple[Array, Array]:
        """(L, 3) points → (V, L, 2) pixels and (V, L, 2, 3) their derivative; finite behind a camera too."""
        x = np.einsum("vij,lj->vli", self.P[:, :, :3], points) + self.P[:, None, :, 3]
        depth = np.where(x[..., 2] > 0, x[..., 2], np.inf)[..., None]
        pixels = x[..., :2] / depth
        derivative = self.P[:, None, :2, :3] - pixels[..., None] * self.P[:, None, 2:, :3]
        return pixels, derivative / depth[..., None]

    def at(self, points: Array) -> Quadratic:
        """The cost around (L, 3) ``points``."""
        pixels, derivative = self.project(points)
        error = (pixels - self.pixels) / self.sigma[..., None]
        cost, pull = cauchy((error**2).sum(2), self.weights)
        derivative = derivative / self.sigma[..., None, None]
        gradient = np.einsum("vl,vli,vlij->lj", pull, error, derivative)
        return Quadratic(cost, gradient, np.einsum("vl,vlij,vlik->ljk", pull, derivative, derivative))

    def residuals(self, points: Array) -> Array:
        """(V, L) distance to the measured pixels; NaN where nothing was measured."""
        distance = np.linalg.norm(self.project(points)[0] - self.pixels, axis=2)
        return np.where(self.weights > 0, distance, np.nan)


def cauchy(squared: Array, weights: Array | float = 1.0) -> tuple[float, Array]:
    """Cost and weights of squared residuals in standard deviations: ``c² log(1 + r²/c²)`` halved."""
    relative = squared / CAUCHY**2
    cost = 0.5 * CAUCHY**2 * float((weights * np.log1p(relative)).sum())
    return cost, weights / (1 + relative)
