"""Area-uniform points on a mesh: how densely a surface is triangulated must not weigh in a figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Samples:
    """Points on a mesh.

    Args:
        points: (N, 3) mm.
        face: (N,) the face each lies in.
        bary: (N, 3) and where in it.
    """

    points: NDArray[np.float64]
    face: NDArray[np.int64]
    bary: NDArray[np.float64]

    def select(self, keep: NDArray) -> Samples:
        """The samples where ``keep`` (N,) is True (or at those indices)."""
        return Samples(self.points[keep], self.face[keep], self.bary[keep])


def sample_surface(
    mesh: Mesh, count: int, *, seed: int = 0, among: NDArray[np.int64] | None = None
) -> Samples:
    """``count`` points, uniform by area, stratified along the face order; the same for the same seed.

    Args:
        mesh: the surface.
        count: how many points.
        seed: of the random generator.
        among: indices of the faces to sample, all by default.

    Raises:
        ValueError: the faces have no area.
    """
    rng = np.random.default_rng(seed)
    among = np.arange(len(mesh.faces)) if among is None else among
    a, b, c = mesh.vertices[mesh.faces[among].T]
    cumulative = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    if not len(among) or cumulative[-1] <= 0:
        raise ValueError("there is no area to sample")
    # one point in each of `count` equal slices of the area
    target = (np.arange(count) + rng.random(count)) * (cumulative[-1] / count)
    face = among[np.minimum(np.searchsorted(cumulative, target, side="right"), len(among) - 1)]
    u, v = np.sqrt(rng.random(count)), rng.random(count)  # Turk, Graphics Gems 1990
    bary = np.column_stack([1 - u, u * (1 - v), u * v])
    points = np.einsum("nk,nkc->nc", bary, mesh.vertices[mesh.faces[face]])
    return Samples(points, face, bary)
