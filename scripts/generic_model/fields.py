"""Smooth fields on the template: interpolation between anchors, filling of openings, Gaussian random fields.

The finite-element view of Gaussian processes (Lindgren, Rue & Lindström, JRSS B 2011): a smoothness energy is
the inverse covariance of a process, and unlike a kernel of plain distance it knows that lips are two shores.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

CORNER = np.radians(40)  # a rim that turns by more at a vertex has a corner there


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


def smoothness(points: NDArray[np.float64], triangles: NDArray[np.int64], scale: float) -> csr_matrix:
    """(N, N) energy of fields in the plane: ``scale⁴ ∫|∇Δf|²`` inside, ``scale³ ∫|f″|²`` along the rims.

    The usual product of stiffness matrices would make fields flat across the rims, which pulls a rim inwards
    between its anchors; so the Laplacian is only looked at where a vertex is surrounded, and a rim is made
    smooth along itself, corners excepted.

    Args:
        points: (N, 2) mm.
        triangles: (T, 3).
        scale: mm.
    """
    stiffness, mass = stiffness_and_mass(points, triangles)
    rims, before, after = rim_neighbours(triangles)
    inside = np.ones(len(points), bool)
    inside[rims] = False
    laplacian = scipy.sparse.diags(inside / mass) @ stiffness
    inner, _ = stiffness_and_mass(points, triangles[inside[triangles].all(1)])
    one, two = points[rims] - points[before], points[after] - points[rims]
    h1, h2 = np.linalg.norm(one, axis=1), np.linalg.norm(two, axis=1)
    straight = np.einsum("nk,nk->n", one, two) > np.cos(CORNER) * h1 * h2
    row = np.tile(np.arange(len(rims)), 3)
    values = np.concatenate([1 / h1, -1 / h1 - 1 / h2, 1 / h2])
    shape = (len(rims), len(points))
    slope = scipy.sparse.coo_matrix((values, (row, np.concatenate([before, rims, after]))), shape)
    bending = slope.T @ scipy.sparse.diags(straight * 2 / (h1 + h2)) @ slope
    return scale**4 * (laplacian.T @ inner @ laplacian) + scale**3 * bending


def rim_neighbours(
    triangles: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(B,) the vertices of a mesh's rims, and the one before and the one after each of them."""
    edges = np.stack([triangles, np.roll(triangles, -1, 1)], -1).reshape(-1, 2)
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    rim = edges[first[count == 1]]
    outgoing, incoming = rim[np.argsort(rim[:, 0])], rim[np.argsort(rim[:, 1])]
    if (outgoing[:, 0] != incoming[:, 1]).any() or len(np.unique(rim[:, 0])) != len(rim):
        raise ValueError("a vertex lies on two rims at once")
    return outgoing[:, 0], incoming[:, 0], outgoing[:, 1]


class SmoothInterpolation:
    """The posterior mean of a smooth Gaussian process given its values at anchors.

    Its energy (:func:`smoothness`) makes fields twice differentiable even at the anchors. Nothing is carried
    across an opening.

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
        self.count, self.skin = len(points), np.unique(triangles)
        number = np.full(len(points), -1)
        number[self.skin] = np.arange(len(self.skin))
        energy = smoothness(points[self.skin], number[triangles], smoothing)
        self._rows = number[anchors]
        data = np.zeros(len(self.skin))
        data[self._rows] = 1.0
        self._solver = scipy.sparse.linalg.splu((energy + scipy.sparse.diags(data)).tocsc())

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

    The kernel ``σ² exp(-d² / 2ℓ²)`` of the plane becomes the heat kernel of the surface: eigenfunctions of
    its Laplacian, damped by ``exp(-λ ℓ² / 2)``, scaled so that the mean variance is σ².

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
