"""Tangent space per vertex as in MikkTSpace, so that all engines read a normal map alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh, unit


@dataclass(frozen=True, eq=False)
class RenderMesh:
    """Triangles for a renderer: all attributes are per vertex, with one vertex for each UV.

    Args:
        position: (N, 3) float64.
        normal: (N, 3) float64 unit.
        uv: (N, 2) float64, v up.
        tangent: (N, 4) float64: unit direction of u at a right angle to the normal, and the handedness:
            the bitangent, in the direction of v, is ``tangent[3] · normal × tangent[:3]``.
        faces: (F, 3) int64, all of them with three different corners.
        source: (F,) index of each face in the mesh it came from.
    """

    position: NDArray[np.float64]
    normal: NDArray[np.float64]
    uv: NDArray[np.float64]
    tangent: NDArray[np.float64]
    faces: NDArray[np.int64]
    source: NDArray[np.int64]

    @property
    def bitangent(self) -> NDArray[np.float64]:
        """(N, 3) the direction of v at a right angle to the normal."""
        return self.tangent[:, 3:] * np.cross(self.normal, self.tangent[:, :3])


def render_mesh(mesh: Mesh) -> RenderMesh:
    """Split vertices at UV seams and mirrored UVs, and give each its tangent space.

    Args:
        mesh: with UVs. Faces without area are left out.

    Raises:
        ValueError: the mesh has no UVs, or no face.
    """
    if mesh.uv is None:
        raise ValueError("a tangent space needs UVs")
    mesh = replace(mesh, normals=mesh.vertex_normals()).with_one_index()
    assert mesh.uv is not None
    assert mesh.normals is not None
    source = np.flatnonzero(mesh.face_areas() > 0)
    if not len(source):
        raise ValueError("the mesh has no face with an area")
    faces = mesh.faces[source]
    mirrored = _uv_area(mesh.uv[faces]) < 0
    unique, corners = np.unique((2 * faces + mirrored[:, None]).ravel(), return_inverse=True)
    vertex, hand = unique // 2, np.where(unique % 2, -1.0, 1.0)
    position, normal, uv = mesh.vertices[vertex], mesh.normals[vertex], mesh.uv[vertex]
    # Where the surrounding faces cancel out there is no normal: any direction will do.
    normal = np.where(normal.any(1)[:, None], unit(normal), (0.0, 1.0, 0.0))
    corners = corners.reshape(-1, 3)
    direction = _tangents(position, normal, uv, corners)
    return RenderMesh(position, normal, uv, np.column_stack([direction, hand]), corners, source)


def _tangents(
    position: NDArray[np.float64],
    normal: NDArray[np.float64],
    uv: NDArray[np.float64],
    faces: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(N, 3) directions of u per vertex (Mikkelsen 2008, "Simulation of Wrinkled Surfaces Revisited").

    Every face's direction of u is laid into the vertex's tangent plane, made a unit vector, and weighed by
    the angle that the face has in that plane.
    """
    a, b, c = position[faces.T]
    s, t = uv[faces[:, 1]] - uv[faces[:, 0]], uv[faces[:, 2]] - uv[faces[:, 0]]
    along = t[:, 1:] * (b - a) - s[:, 1:] * (c - a)
    along *= np.where(_uv_area(uv[faces]) < 0, -1, 1)[:, None]
    total = np.zeros_like(position)
    for k in range(3):
        at = faces[:, k]
        n, here = normal[at], position[at]
        to_next = _in_plane(position[faces[:, (k + 1) % 3]] - here, n)
        to_last = _in_plane(position[faces[:, (k + 2) % 3]] - here, n)
        angle = np.arccos(np.clip(np.einsum("fk,fk->f", to_next, to_last), -1, 1))
        pull = _in_plane(along, n) * angle[:, None]
        for axis in range(3):
            total[:, axis] += np.bincount(at, pull[:, axis], len(position))
    # Where no face has UVs with an area, any direction will do.
    axis = np.eye(3)[np.abs(normal).argmin(1)]
    tangent = unit(total)
    return np.where(tangent.any(1)[:, None], tangent, _in_plane(axis, normal))


def _in_plane(vectors: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 3) of the parts of ``vectors`` at a right angle to ``normal``."""
    return unit(vectors - normal * np.einsum("nk,nk->n", vectors, normal)[:, None])


def _uv_area(uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) twice the signed area of (F, 3, 2) UV triangles; negative where they are mirrored."""
    s, t = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    return s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]
