"""Normal maps: the detailed surface's normals relative to a coarser mesh, or in space.

``export_normals`` writes both kinds for the base mesh; mesh formats use the first for their own mesh.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.export.source import ExportSource
from mesoface.export.tangent_space import RenderMesh, render_mesh
from mesoface.files.maps import write_png
from mesoface.geometry.mesh import unit
from mesoface.surface.detail import DetailMaps
from mesoface.uvd.maps import fill_outside, rasterize_uv

_FLAT = np.array([0, 0, 1], np.float32)
_LOWEST = 0.02  # smallest z of a normal in tangent space


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
