"""Predicted relief on the measured surface."""

from __future__ import annotations

from mesoface.geometry.mesh import Mesh
from mesoface.relief.types import MesoRelief
from mesoface.uvd.maps import sample_map


def add_relief(mesh: Mesh, relief: MesoRelief) -> Mesh:
    """The mesh with its vertices moved along its normals by the relief; topology and UVs stay.

    Args:
        mesh: with one UV a vertex, in the relief's layout.
        relief: what was predicted.

    Raises:
        ValueError: the mesh has no UVs, or UVs that are not its vertices' own.
    """
    if mesh.uv is None or mesh.uv_faces is not None:
        raise ValueError("every vertex needs one UV")
    height = sample_map(relief.height, mesh.uv)[:, None]
    moved = mesh.with_vertices(mesh.vertices + mesh.vertex_normals() * height)
    return Mesh(moved.vertices, moved.faces, moved.uv, None, moved.vertex_normals(), mesh.colors)
