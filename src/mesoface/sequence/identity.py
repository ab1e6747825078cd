"""The identity of a person, solved jointly in several frames, and the face model with it fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from mesoface.face_models.fitting import SpatialLandmarks, embedding
from mesoface.face_models.model import FaceFit, FaceModel
from mesoface.landmarks.types import Landmarks3D

Array = NDArray[np.float64]

_NOISE_MM = 1.0  # of a landmark in space against the place that the model has for it
_ROUNDS = 8


def joint_identity(model: FaceModel, fits: Sequence[FaceFit], landmarks: Sequence[Landmarks3D]) -> Array:
    """The identity that explains all frames best, each with an expression and a pose of its own.

    Gauss–Newton on the maximum a posteriori estimate: the landmarks' robust (Cauchy) distances in space and
    the model's Gaussian prior, once for the identity and once for every expression. A single frame cannot
    tell a wide mouth from a smile; several can.

    Args:
        model: the face model.
        fits: K ≥ 1 fits of single frames, in millimetres (scale 1): where the solution begins.
        landmarks: of the same frames, mm.

    Returns:
        (n_identity,) coefficients.
    """
    identity = np.mean([fit.identity for fit in fits], 0)
    frames = [_Frame(model, fit, points) for fit, points in zip(fits, landmarks, strict=True)]
    for _ in range(_ROUNDS):
        identity = _step(model, identity, frames)
    return identity


class _Frame:
    """One frame's landmarks in the model's axes, and its expression; both change as the solution does."""

    def __init__(self, model: FaceModel, fit: FaceFit, landmarks: Landmarks3D):
        ids, self.corners, self.bary = embedding(model, landmarks.scheme, len(landmarks.points))
        points = landmarks.points[ids]
        self.weights = np.isfinite(points).all(1).astype(np.float64)
        self.points = (np.nan_to_num(points) - fit.translation) @ fit.rotation / fit.scale
        self.expression = fit.expression

    def linearised(self, model: FaceModel, identity: Array) -> tuple[Array, Array]:
        """Hessian and gradient of the landmarks' cost by identity, expression and pose (6)."""
        points, by_shape = model.points(identity, self.expression, self.corners, self.bary)
        by_turn = np.cross(np.eye(3), points[:, None]).swapaxes(1, 2)
        by_shift = np.broadcast_to(np.eye(3), (len(points), 3, 3))
        J = np.concatenate([by_shape, by_turn, by_shift], 2)
        sigma = np.full(len(points), _NOISE_MM)
        cost = SpatialLandmarks(self.points, self.weights, sigma).at(points)
        hessian = np.einsum("lim,lij,ljn->mn", J, cost.hessian, J, optimize=True)
        return hessian, np.einsum("lim,li->m", J, cost.gradient)

    def move(self, model: FaceModel, step: Array) -> None:
        """Change the expression by ``step[:-6]``; turn and shift the landmarks back by the pose's step."""
        n = model.n_identity
        self.expression = _bounded(self.expression + step[:-6], model, slice(n, None))
        self.points = (self.points - step[-3:]) - np.cross(step[-6:-3], self.points)


def _step(model: FaceModel, identity: Array, frames: Sequence[_Frame]) -> Array:
    """One step of all frames; returns the identity."""
    n, m = model.n_identity, model.n_expression + 6
    H, g = np.zeros((n + m * len(frames), n + m * len(frames))), np.zeros(n + m * len(frames))
    H[np.arange(n), np.arange(n)] = 1.0
    g[:n] = identity
    for k, frame in enumerate(frames):
        own = slice(n + k * m, n + (k + 1) * m)
        hessian, gradient = frame.linearised(model, identity)
        H[:n, :n] += hessian[:n, :n]
        H[:n, own], H[own, :n], H[own, own] = hessian[:n, n:], hessian[n:, :n], hessian[n:, n:]
        g[:n] += gradient[:n]
        g[own] = gradient[n:]
        prior = np.arange(own.start, own.stop - 6)
        H[prior, prior] += 1.0
        g[prior] += frame.expression
    H[np.diag_indices_from(H)] *= 1 + 1e-6
    step = -scipy.linalg.solve(H, g, assume_a="pos")
    for k, frame in enumerate(frames):
        frame.move(model, step[n + k * m : n + (k + 1) * m])
    return _bounded(identity + step[:n], model, slice(n))


def _bounded(values: Array, model: FaceModel, part: slice) -> Array:
    if model.bounds is None:
        return values
    return np.clip(values, model.bounds[0][part], model.bounds[1][part])


class KnownIdentity:
    """``model`` with its identity fixed; itself a :class:`~mesoface.face_models.model.FaceModel`.

    Args:
        model: the face model.
        identity: (n_identity,) its coefficients.
    """

    n_identity = 0

    def __init__(self, model: FaceModel, identity: Array):
        self.model, self.identity = model, identity
        self.name, self.topology, self.n_expression = model.name, model.topology, model.n_expression
        self.bounds: tuple[Array, Array] | None = None  # of the expression's coefficients alone
        if model.bounds is not None:
            low, high = model.bounds
            self.bounds = low[len(identity) :], high[len(identity) :]

    def shape(self, identity: NDArray, expression: NDArray) -> Array:
        """See :meth:`FaceModel.shape`; ``identity`` is empty."""
        return self.model.shape(self.identity, expression)

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: Array
    ) -> tuple[Array, Array]:
        """See :meth:`FaceModel.points`; ``identity`` is empty."""
        points, jacobian = self.model.points(self.identity, expression, corners, bary)
        return points, jacobian[:, :, len(self.identity) :]

    def full(self, fit: FaceFit) -> FaceFit:
        """A fit of this, as one of the whole model."""
        return replace(fit, model=self.model, identity=self.identity)
