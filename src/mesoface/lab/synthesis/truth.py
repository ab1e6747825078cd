"""A smaller mesh of the true face than the one that was photographed, and how far it is off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, eye, vstack
from scipy.sparse.linalg import cg

from mesoface.geometry.mesh import Mesh, compact


@dataclass(frozen=True, eq=False)
class CoarseFace:
    """Triangles that were split further before they were photographed.

    Args:
        faces: (F, 3) facial triangles.
        count: how many vertices there were; they are the first ones of the finer mesh.
        halved: round by round, (K, 2) the ends of the edge that each further vertex of the finer mesh halves.
    """

    faces: NDArray[np.int64]
    count: int
    halved: list[NDArray[np.int64]]


def coarse_truth(
    coarse: CoarseFace, mesh: Mesh, facial: NDArray[np.bool_]
) -> tuple[Mesh, NDArray[np.float64]]:
    """Fit the coarse triangles to a fine surface by least squares over the fine one's vertices.

    Args:
        coarse: what ``mesh`` was split from.
        mesh: the fine surface with its relief, N vertices.
        facial: (F,) faces of ``mesh`` that lie in the coarse triangles.

    Returns:
        The coarse mesh, and how far along the normal it is from each facial vertex of the fine one, mm.
    """
    weights: csr_matrix = eye(coarse.count, format="csr")
    for ends in coarse.halved:
        weights = vstack([weights, 0.5 * (weights[ends[:, 0]] + weights[ends[:, 1]])], format="csr")
    rows = np.unique(mesh.faces[facial])
    faces, used = compact(coarse.faces, coarse.count)
    weights, wanted = weights[rows][:, np.flatnonzero(used)], mesh.vertices[rows]
    start = mesh.vertices[: coarse.count][used]
    normal_matrix = weights.T @ weights
    # Solved for the change, which is small: the tolerance is then relative to it.
    miss = wanted - weights @ start
    change = [cg(normal_matrix, weights.T @ miss[:, k], atol=1e-6)[0] for k in range(3)]
    vertices = start + np.stack(change, 1)
    error = ((wanted - weights @ vertices) * mesh.vertex_normals()[rows]).sum(1)
    return Mesh(vertices, faces), np.abs(error)
