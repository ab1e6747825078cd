"""Smooth fields on the template: interpolation between anchors, filling of openings, Gaussian random fields.

The finite-element view of Gaussian processes (Lindgren, Rue & Lindström, JRSS B 2011): a smoothness energy is the
inverse covariance of a process, and unlike a kernel of plain distance it knows that the lips are two shores.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


def stiffness_and_mass(
    points: NDArray[np.float64], triangles: NDArray[np.int64]
) -> tuple[csr_matrix, NDArray]:
    """Cotangent stiffness (N, N), positive semi-definite, and lumped mass (N,) of linear elements.

    Args:
        points: (N, 2) or (N, 3).
        triangles: (T, 3).
    """
    count = len(points)
    stiffness = scipy.sparse.csr_matrix((count, count))
    corners = np.zeros((len(triangles), 3, 3))
    corners[..., : points.shape[1]] = points[triangles]
    double_area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    for k in range(3):
        i, j = triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        e1, e2 = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
        half_cot = 0.5 * np.einsum("tc,tc->t", e1, e2) / double_area
        rows, columns = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
        values = np.concatenate([-half_cot, -half_cot, half_cot, half_cot])
        stiffness = stiffness + scipy.sparse.coo_matrix((values, (rows, columns)), (count, count))
    mass = np.bincount(triangles.ravel(), np.repeat(double_area / 6, 3), minlength=count)
    return stiffness.tocsr(), mass


class SmoothInterpolation:
    """The posterior mean of a smooth Gaussian process given its values at anchors.

    Its energy is the integral of ``|∇Δf|²`` over the skin, so that fields are twice differentiable even at
    the anchors. Nothing is carried across an opening.

    Args:
        points: (N, 2) where the vertices lie in the plane, mm.
        triangles: (T, 3) of the skin, without the openings' lids.
        anchors: (A,) vertices whose values are given.
        smoothing: wavelengths under about this, mm, are not taken from the anchors.
    """

    def __init__(
        self,
        points: NDArray[np.float64],
        triangles: NDArray[np.int64],
        anchors: NDArray[np.int64],
        smoothing: float,
    ):
        self.anchors, self.count = anchors, len(points)
        self.skin = np.unique(triangles)
        number = np.full(len(points), -1)
        number[self.skin] = np.arange(len(self.skin))
        stiffness, mass = stiffness_and_mass(points[self.skin], number[triangles])
        over_mass = scipy.sparse.diags(1 / mass)
        energy = stiffness @ over_mass @ stiffness @ over_mass @ stiffness
        self._rows = number[anchors]
        data = np.zeros(len(self.skin))
        data[self._rows] = 1.0
        self._solver = scipy.sparse.linalg.splu((smoothing**4 * energy + scipy.sparse.diags(data)).tocsc())

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(A, C) at the anchors → (N, C); zero at vertices that are not skin."""
        right = np.zeros((len(self.skin), values.shape[1]))
        right[self._rows] = values
        out = np.zeros((self.count, values.shape[1]))
        out[self.skin] = self._solver.solve(right)
        return out


class HarmonicFill:
    """Values inside the openings from those on their rims: each in the middle of its neighbours.

    Args:
        points: (N, 2) where the vertices lie in the plane.
        triangles: (T, 3) all of them.
        known: (N,) False inside the openings.
    """

    def __init__(self, points: NDArray[np.float64], triangles: NDArray[np.int64], known: NDArray[np.bool_]):
        stiffness, _ = stiffness_and_mass(points, triangles)
        self.known = known
        self._from = -stiffness[~known][:, known]
        self._solver = scipy.sparse.linalg.splu(stiffness[~known][:, ~known].tocsc())

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, C) with the unknown rows replaced."""
        out = values.copy()
        out[~self.known] = self._solver.solve(self._from @ values[self.known])
        return out


def kernel_modes(
    positions: NDArray[np.float64],
    triangles: NDArray[np.int64],
    scales: dict[float, float],
    count: int,
) -> NDArray[np.float64]:
    """Karhunen–Loève modes of a sum of Gaussian kernels on a surface.

    The kernel ``σ² exp(-d² / 2ℓ²)`` of the plane becomes the heat kernel of the surface: eigenfunctions of its
    Laplacian, damped by ``exp(-λ ℓ² / 2)``, scaled so that the mean variance is σ².

    Args:
        positions: (N, 3) mm.
        triangles: (T, 3) of the skin.
        scales: ℓ in mm → σ in mm.
        count: how many eigenfunctions.

    Returns:
        (count, N) scalar fields, mm per standard deviation; zero at vertices that are not skin.
    """
    skin = np.unique(triangles)
    number = np.full(len(positions), -1)
    number[skin] = np.arange(len(skin))
    stiffness, mass = stiffness_and_mass(positions[skin], number[triangles])
    start = np.random.default_rng(0).normal(size=len(skin))
    value, vector = scipy.sparse.linalg.eigsh(
        stiffness, k=count, M=scipy.sparse.diags(mass), sigma=-1e-5, which="LM", v0=start
    )
    variance = np.zeros(count)
    for length, sigma in scales.items():
        damping = np.exp(-np.maximum(value, 0) * length**2 / 2)
        variance += sigma**2 * mass.sum() * damping / damping.sum()
    # fix the eigenfunctions' signs: the solver's are arbitrary
    vector *= np.sign(vector[np.abs(vector).argmax(0), np.arange(count)])
    out = np.zeros((count, len(positions)))
    out[:, skin] = np.sqrt(variance)[:, None] * vector.T
    return out
