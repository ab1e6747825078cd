"""A face for renderers: one mesh with its tangent space, a colour texture, a normal map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.export.normals import RenderMesh, render_mesh, tangent_normal_map
from mesoface.export.source import ExportSource, Topology
from mesoface.geometry.mesh import Mesh
from mesoface.surface.detail import grid_mesh, model_topology_mesh

ROUGHNESS = 0.55
"""Of skin, as metallic-roughness materials have it."""

CLAY = (0.60, 0.55, 0.50)
"""Colour of a face without texture, linear RGB."""


@dataclass(frozen=True, eq=False)
class Asset:
    """What is drawn of a face.

    Args:
        mesh: mm, with UVs and normals.
        drawn: the same per vertex, with tangents.
        color: (T, T, 3) uint8 sRGB, or None.
        normals: (H, H, 3) unit vectors in the tangent space of ``drawn``, or None where the mesh has all
            there is.
    """

    mesh: Mesh
    drawn: RenderMesh
    color: NDArray[np.uint8] | None
    normals: NDArray[np.float32] | None

    @property
    def about(self) -> str:
        """Its size, in words."""
        return size_in_words(len(self.drawn.position), len(self.drawn.faces), colored=self.color is not None)


def size_in_words(vertices: int, triangles: int, *, colored: bool) -> str:
    """The size of a mesh, and whether it has colour."""
    color = "with colour" if colored else "without colour: the result has no texture"
    return f"{vertices:,} vertices, {triangles:,} triangles, {color}"


def make_asset(source: ExportSource, *, edge_mm: float, topology: Topology = "model") -> Asset:
    """The mesh for a format, and its maps.

    Args:
        source: the face.
        edge_mm: the format's own density for the model's topology, mm. The grid's is as measured.
        topology: the format's own topology.

    Raises:
        MesofaceError: a grid of a run that measured nothing, or too dense a mesh.
    """
    mesh, skin = detailed_mesh(source, edge_mm=edge_mm, topology=topology)
    drawn = render_mesh(mesh)
    normals = None
    options = source.options
    complete = (options.topology or topology) == "grid" and options.edge_mm is None
    if source.detail is not None and not complete:
        normals = tangent_normal_map(drawn, skin, source.detail)
    return Asset(mesh, drawn, source.color, normals)


def detailed_mesh(
    source: ExportSource, *, edge_mm: float, topology: Topology
) -> tuple[Mesh, NDArray[np.bool_]]:
    """The mesh with normals, and which of its faces are skin; the arguments are :func:`make_asset`'s.

    Raises:
        MesofaceError: as :func:`make_asset`.
    """
    options = source.options
    if (options.topology or topology) == "grid":
        if source.detail is None:
            raise MesofaceError(
                "the UV grid is of what was measured, and this run stopped at the base mesh",
                remedy="use --topology model, or reconstruct without --until base",
            )
        grid = grid_mesh(source.detail, options.edge_mm)
        return grid, np.ones(len(grid.faces), bool)
    edge_mm = options.edge_mm or edge_mm
    mesh, skin = model_topology_mesh(source.base, source.facial, source.detail, edge_mm)
    return replace(mesh, normals=mesh.vertex_normals()), skin
