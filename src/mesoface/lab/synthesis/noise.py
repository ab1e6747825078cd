"""Random fields over points in space: smooth noise and cells. They need no UVs and have no seams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mesoface.geometry.mesh import Mesh

_LATTICE = 40
# Standard deviation of white noise after cubic B-spline interpolation, averaged over the cell.
_SPLINE_STD = (151 / 315) ** 1.5


def solid_noise(
    points: NDArray[np.float64],
    wavelength: float,
    rng: np.random.Generator,
    *,
    octaves: int = 1,
    gain: float = 0.6,
    spacing: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Smooth noise of zero mean and unit variance: white noise on a lattice, cubic B-spline interpolated.

    Args:
        points: (N, 3) mm.
        wavelength: size of the coarsest octave's features, mm.
        rng: source of chance; the number of draws does not depend on ``points``.
        octaves: each has half the wavelength of the one before it.
        gain: amplitude of an octave over the one before it.
        spacing: (N,) distance to neighbouring points, mm. Where it is too coarse for an octave, the octave
            fades instead of aliasing.

    Returns:
        (N,).
    """
    total, power = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        lattice = rng.standard_normal((_LATTICE,) * 3).astype(np.float32)
        # A turned lattice hides its axes, and its period from the eye.
        turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        cell = wavelength / 2 ** (octave + 1)
        where = points @ (turn / cell) + rng.uniform(0, _LATTICE, 3)
        value = map_coordinates(lattice, where.T, order=3, mode="grid-wrap", prefilter=False)
        if spacing is not None:
            value *= np.clip(3 - 2 * spacing / cell, 0, 1)
        total += gain**octave * value
        power += gain ** (2 * octave)
    return total / (_SPLINE_STD * np.sqrt(power))


def scatter(
    mesh: Mesh, density: NDArray[np.float64] | float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Random points on a surface.

    Args:
        mesh: F faces.
        density: expected points per mm², of each of the F faces or of all.
        rng: source of chance.

    Returns:
        (K, 3) points, (K,) the face of each and (K, 3) its barycentric coordinates.
    """
    expected = np.cumsum(mesh.face_areas() * np.maximum(density, 0))
    count = rng.poisson(expected[-1]) if len(expected) else 0
    face = np.searchsorted(
        expected, rng.uniform(0, expected[-1] if len(expected) else 0, count), side="right"
    )
    face = np.minimum(face, len(mesh.faces) - 1)
    r, s = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    bary = np.stack([1 - r, r * (1 - s), r * s], 1)
    return np.einsum("kc,kcd->kd", bary, mesh.face_corners()[face]), face, bary


def cell_distances(
    points: NDArray[np.float64], seeds: NDArray[np.float64], *, reach: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances to the two nearest seeds (Worley 1996).

    Args:
        points: (N, 3).
        seeds: (K, 3), K ≥ 2.
        reach: seeds further away are ignored.

    Returns:
        (N, 2) distances, nearest first, inf where there is none within reach; and (N,) the nearest seed,
        K where there is none.
    """
    distance, index = cKDTree(seeds).query(points, k=2, distance_upper_bound=reach)
    return distance, index[:, 0]
