"""Lens distortion: from ideal to distorted image coordinates, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@runtime_checkable
class Lens(Protocol):
    """Maps ideal normalised image coordinates (x/z, y/z) to distorted ones, and back."""

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        ...

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where there is no inverse."""
        ...


@dataclass(frozen=True)
class OpenCVLens:
    """OpenCV's rational lens with thin prism and tilted sensor.

    The formula is the one under "Camera Calibration and 3D Reconstruction" in OpenCV's documentation. It
    is computed here because ``cv2.projectPoints`` takes a microsecond per point: a second per megapixel.

    Args:
        coefficients: (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1..s4[, tx, ty]]]]), 4, 5, 8, 12 or 14 numbers.

    Raises:
        ValueError: another number of coefficients, or one that is not finite.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) not in (4, 5, 8, 12, 14):
            raise ValueError(f"expected 4, 5, 8, 12 or 14 lens coefficients, got {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all():
            raise ValueError("a lens coefficient is not finite")

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        coefficients = (*self.coefficients, *(0.0,) * (14 - len(self.coefficients)))
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty = coefficients
        x, y = np.asarray(xy, np.float64).T
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        twice_xy = 2 * x * y
        out = np.stack(
            [
                x * radial + p1 * twice_xy + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2),
                y * radial + p1 * (r2 + 2 * y * y) + p2 * twice_xy + r2 * (s3 + r2 * s4),
            ],
            -1,
        )
        return _tilt(out, tx, ty) if tx or ty else out

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where the lens folds over and has no inverse."""
        return invert(self.distort, xy)


def invert(distort: Callable[[Array], Array], xy: Array, *, tolerance: float = 1e-9) -> Array:
    """Solve ``distort(x) = xy`` by Newton's method, starting at ``xy``.

    Args:
        distort: (N, 2) → (N, 2), smooth, near the identity around the axis.
        xy: (N, 2).
        tolerance: largest remaining difference that counts as solved.

    Returns:
        (N, 2); NaN where the iteration does not converge or ends beyond a fold (where the derivative
        turns a direction around: its determinant or trace is ≤ 0).
    """
    goal = np.asarray(xy, np.float64).reshape(-1, 2)
    x, step = goal.copy(), 1e-6 * np.eye(2)
    with np.errstate(all="ignore"):
        for _ in range(25):
            error = distort(x) - goal
            dx = (distort(x + step[0]) - distort(x - step[0])) / 2e-6
            dy = (distort(x + step[1]) - distort(x - step[1])) / 2e-6
            det = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
            unfolded = (det > 0) & (dx[:, 0] + dy[:, 1] > 0)
            solved = (np.abs(error) <= tolerance).all(1) & unfolded
            move = np.stack(
                [
                    dy[:, 1] * error[:, 0] - dy[:, 0] * error[:, 1],
                    dx[:, 0] * error[:, 1] - dx[:, 1] * error[:, 0],
                ],
                -1,
            )
            move /= det[:, None]
            # Far from the solution a full step may jump over the fold.
            length = np.linalg.norm(move, axis=1, keepdims=True)
            move *= np.minimum(1.0, 0.5 / np.maximum(length, 1e-300))
            if np.abs(move).max(initial=0.0, where=np.isfinite(move)) < 1e-14:
                break
            x = x - move
    return np.where(solved[:, None], x, np.nan) if len(goal) else goal


def _tilt(xy: Array, tx: float, ty: float) -> Array:
    """(N, 2) on the untilted sensor → (N, 2) on one tilted by ``tx``, ``ty`` radians (Scheimpflug)."""
    about_x = np.array([[1, 0, 0], [0, np.cos(tx), np.sin(tx)], [0, -np.sin(tx), np.cos(tx)]])
    about_y = np.array([[np.cos(ty), 0, -np.sin(ty)], [0, 1, 0], [np.sin(ty), 0, np.cos(ty)]])
    R = about_y @ about_x
    onto_plane = np.array([[R[2, 2], 0, -R[0, 2]], [0, R[2, 2], -R[1, 2]], [0, 0, 1]]) @ R
    out = np.column_stack([xy, np.ones(len(xy))]) @ onto_plane.T
    return out[:, :2] / out[:, 2:]
