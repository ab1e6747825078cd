"""``face.ply``: the dense UV grid of what was measured, with colours per vertex."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.export.asset import detailed_mesh
from mesoface.export.source import ExportSource, Topology
from mesoface.files.meshes import write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.uvd.maps import sample_map

_EDGE_MM = 1.0  # in the model's topology; the grid's own is as measured


def export_ply(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.ply``: binary, millimetres, normals, ``s t`` UVs, and colours where there is a texture.

    Raises:
        MesofaceError: it cannot be written, or the mesh cannot be made.
    """
    topology: Topology = "model" if source.detail is None else "grid"
    mesh, _ = detailed_mesh(source, edge_mm=_EDGE_MM, topology=topology)
    if source.color is not None:
        mesh = _colored(mesh, source.color)
    write_ply(folder / "face.ply", mesh)
    color = "with colour" if mesh.colors is not None else "without colour: the result has no texture"
    return [f"face.ply: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles, {color}, millimetres"]


def _colored(mesh: Mesh, color: NDArray[np.uint8]) -> Mesh:
    """``mesh`` with the texture's colours at its vertices."""
    mesh = mesh.with_one_index()
    assert mesh.uv is not None
    return replace(mesh, colors=np.rint(sample_map(color, mesh.uv)).astype(np.uint8))
