"""What a face model is fitted to: landmarks in the photos, or landmarks in space.

Both are functions of the landmarks' world positions alone. Each gives its robust cost, gradient and
Gauss–Newton Hessian per landmark (3 and 3 × 3 numbers), whatever the number of views: the normal equations
of the fit are then assembled from L small blocks instead of V · L rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera

Array = NDArray[np.float64]

CAUCHY = 2.5
"""Residuals past this many standard deviations lose their pull."""


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


class Measurements(Protocol):
    """A robust cost of L landmark positions in the world."""

    def at(self, points: Array) -> Quadratic:
        """The cost around (L, 3) ``points``."""
        ...


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
        """See :class:`Measurements`."""
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
        """See :class:`Measurements`."""
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
