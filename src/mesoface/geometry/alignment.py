"""Similarities of space, and the closed-form alignment of corresponding points (Umeyama, PAMI 1991)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from mesoface.geometry.mesh import Mesh

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Similarity:
    """``x → scale · R x + t``.

    Args:
        R: (3, 3) rotation.
        t: (3,) translation, units of the target.
        scale: positive; 1 for a rigid motion.
    """

    R: Array
    t: Array
    scale: float = 1.0

    @staticmethod
    def identity() -> Similarity:
        """Nothing moves."""
        return Similarity(np.eye(3), np.zeros(3))

    def apply(self, points: ArrayLike) -> Array:
        """(..., 3) points, moved."""
        return self.scale * np.asarray(points, np.float64) @ self.R.T + self.t

    def apply_to_mesh(self, mesh: Mesh) -> Mesh:
        """The mesh with its vertices and stored normals moved."""
        normals = None if mesh.normals is None else mesh.normals @ self.R.T
        return Mesh(self.apply(mesh.vertices), mesh.faces, mesh.uv, mesh.uv_faces, normals, mesh.colors)

    def inverse(self) -> Similarity:
        """The way back."""
        return Similarity(self.R.T, -self.R.T @ self.t / self.scale, 1 / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """``first``, then this."""
        t = self.scale * self.R @ first.t + self.t
        return Similarity(self.R @ first.R, t, self.scale * first.scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; the rotation also as an angle in degrees."""
        angle = float(np.degrees(Rotation.from_matrix(self.R).magnitude()))
        return {
            "scale": float(self.scale),
            "rotation": self.R.tolist(),
            "rotation_degrees": angle,
            "translation": self.t.tolist(),
        }


def align_points(
    source: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None, scale: float | None = None
) -> Similarity:
    """The similarity that maps ``source`` to ``target`` with the least (weighted) sum of squares.

    Args:
        source: (N, 3) points.
        target: (N, 3) where they should go.
        weights: (N,) ≥ 0, or None for equal ones.
        scale: fixed scale (1 for a rigid motion), or None to estimate it.

    Raises:
        ValueError: fewer than three points have weight, or they lie on a line.
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    w = np.ones(len(a)) if weights is None else np.asarray(weights, np.float64)
    if (w > 0).sum() < 3:
        raise ValueError(f"three points are needed for an alignment, got {int((w > 0).sum())}")
    w = w / w.sum()
    mean_a, mean_b = w @ a, w @ b
    a, b = a - mean_a, b - mean_b
    u, singular, vt = np.linalg.svd((b * w[:, None]).T @ a)
    if singular[1] <= 1e-9 * singular[0]:
        raise ValueError("the points lie on a line: their alignment is not determined")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    R = (u * sign) @ vt
    if scale is None:
        scale = float(singular @ sign / (w @ (a**2).sum(1)))
    return Similarity(R, mean_b - scale * R @ mean_a, scale)


def align_points_robustly(
    source: ArrayLike,
    target: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    scale: float | None = None,
    iterations: int = 20,
) -> Similarity:
    """As :func:`align_points`, with outliers down-weighted (Cauchy weights, spread from the median)."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    prior = np.ones(len(a)) if weights is None else np.asarray(weights, np.float64)
    motion = align_points(a, b, weights=prior, scale=scale)
    for _ in range(iterations):
        distance = np.linalg.norm(motion.apply(a) - b, axis=1)
        spread = 1.5 * np.median(distance[prior > 0])
        if spread <= 1e-12 * np.abs(b).max():
            break
        motion = align_points(a, b, weights=prior / (1 + (distance / spread) ** 2), scale=scale)
    return motion
