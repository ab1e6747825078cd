"""Normal maps: the detailed surface's normals relative to a coarser mesh, or in space.

``export_normals`` writes both kinds for the base mesh; mesh formats use the first for their own mesh. Tangent
space per vertex is that of MikkTSpace, so that all engines read a normal map alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.export.source import ExportSource
from mesoface.files.maps import write_png
from mesoface.geometry.mesh import Mesh, unit
from mesoface.surface.detail import DetailMaps
from mesoface.uvd.maps import fill_outside, rasterize_uv

_FLAT = np.array([0, 0, 1], np.float32)
_LOWEST = 0.02  # smallest z of a normal in tangent space


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


def export_normals(source: ExportSource, folder: Path) -> list[str]:
    """Write the detailed surface's normals: in the tangent space of ``base.obj``, and in space.

    Both have red for x, green for y (up: "OpenGL"), blue for z. The tangent space is MikkTSpace's, of the
    base mesh with smooth normals as it is exported, not subdivided.

    Raises:
        MesofaceError: nothing was measured, or a file cannot be written.
    """
    detail = source.required_detail
    tangent = tangent_normal_map(render_mesh(source.base), source.facial, detail)
    write_png(folder / "normal_tangent.png", encode_normals(tangent, np.uint16))
    write_png(folder / "normal_object.png", encode_normals(object_normal_map(detail), np.uint16))
    return [f"normal_tangent.png, normal_object.png: {detail.size}², 16-bit, for base.obj, green is up"]


def tangent_normal_map(mesh: RenderMesh, skin: NDArray[np.bool_], detail: DetailMaps) -> NDArray[np.float32]:
    """The detailed surface's normals in the tangent space of the mesh that will be drawn with them.

    The tangent space is interpolated over each face without orthonormalisation, as MikkTSpace requires of
    shaders; the map holds what such a shader decodes into the detailed normal.

    Args:
        mesh: the mesh to be drawn.
        skin: (F',) which faces of the mesh that ``mesh`` was made of have the detail.
        detail: the detailed surface.

    Returns:
        (H, H, 3) unit vectors: x along u, y along v, z outward; (0, 0, 1) where there is no detail.
    """
    on_skin = skin[mesh.source]
    # Skin first: it wins where UVs overlap.
    faces = np.concatenate([mesh.faces[on_skin], mesh.faces[~on_skin]])
    raster = rasterize_uv(mesh.uv, faces, detail.size)
    valid = raster.valid & (raster.face < on_skin.sum())
    axes = np.stack([mesh.tangent[:, :3], mesh.bitangent, mesh.normal], -1).reshape(-1, 9).astype(np.float32)
    frame = raster.interpolate(axes, faces)[valid].reshape(-1, 3, 3)
    tangent, bitangent, outward = np.moveaxis(frame, -1, 0)
    # Cramer's rule; normalisation removes the determinant's size, not its sign.
    across = np.cross(bitangent, outward)
    determinant = np.einsum("nk,nk->n", tangent, across)
    rows = across, np.cross(outward, tangent), np.cross(tangent, bitangent)
    local = np.stack([np.einsum("nk,nk->n", row, detail.normal[valid]) for row in rows], -1)
    local = unit(local * np.sign(determinant)[:, None])
    # A frame that does not span space (a vertex whose faces cancel out) has no solution: flat.
    local[np.abs(determinant) <= 1e-3] = _FLAT
    # No map can turn a normal to the other side of its face: clamped.
    local[:, 2] = np.maximum(local[:, 2], _LOWEST)
    out = np.tile(_FLAT, (*valid.shape, 1))
    out[valid] = unit(local)
    # Continued beyond the islands, so that filtering at their rims stays inside.
    return unit(fill_outside(out, raster.valid))


def object_normal_map(detail: DetailMaps) -> NDArray[np.float32]:
    """(H, H, 3) the detailed surface's unit normals in the axes of the export, continued to the border."""
    return unit(fill_outside(detail.normal, detail.facial))


def encode_normals(normals: NDArray[np.float32], dtype: type[np.uint8] | type[np.uint16]) -> NDArray:
    """Unit vectors (H, W, 3) as colours: -1 is 0, +1 is the largest number of ``dtype``."""
    full = np.iinfo(dtype).max
    return np.round((normals + 1) / 2 * full).astype(dtype)
