"""A face's mesh for renderers, with its maps; ``face.obj``, ``face.ply``, ``base.obj`` in millimetres.

The first is in the face model's topology, the second is the dense UV grid of what was measured, the third is
the base mesh with the face model's coefficients.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.export.normals import RenderMesh, encode_normals, render_mesh, tangent_normal_map
from mesoface.export.source import ExportSource, Topology
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import write_png
from mesoface.files.meshes import write_obj, write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.surface.detail import grid_mesh, model_topology_mesh
from mesoface.uvd.maps import sample_map

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


_EDGE_MM = 1.0  # on the skin, in the model's topology


def export_obj(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.obj``, ``face.mtl`` and its images: one unit is a millimetre, UVs from the bottom left.

    Raises:
        MesofaceError: a file cannot be written, or the mesh cannot be made.
    """
    asset = make_asset(source, edge_mm=_EDGE_MM)
    write_obj(folder / "face.obj", asset.mesh, material="face")
    lines = ["newmtl face", "Ka 0 0 0", "Ks 0.04 0.04 0.04", "Ns 20", "illum 2"]
    if asset.color is None:
        lines.append("Kd {:.3f} {:.3f} {:.3f}".format(*CLAY))
    else:
        write_png(folder / "face_color.png", asset.color)
        lines += ["Kd 1 1 1", "map_Kd face_color.png"]
    if asset.normals is not None:
        write_png(folder / "face_normal.png", encode_normals(asset.normals, np.uint8))
        lines.append("norm face_normal.png")
    with atomic_file(folder / "face.mtl") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")
    return [f"face.obj: {asset.about}, millimetres"]


def export_ply(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.ply``: binary, millimetres, normals, ``s t`` UVs, and colours where there is a texture.

    Raises:
        MesofaceError: it cannot be written, or the mesh cannot be made.
    """
    topology: Topology = "model" if source.detail is None else "grid"
    mesh, _ = detailed_mesh(source, edge_mm=_EDGE_MM, topology=topology)
    if source.color is not None:
        mesh = mesh.with_one_index()
        assert mesh.uv is not None
        mesh = replace(mesh, colors=np.rint(sample_map(source.color, mesh.uv)).astype(np.uint8))
    write_ply(folder / "face.ply", mesh)
    size = size_in_words(len(mesh.vertices), len(mesh.faces), colored=mesh.colors is not None)
    return [f"face.ply: {size}, millimetres"]


def export_base(source: ExportSource, folder: Path) -> list[str]:
    """Write the base mesh and the model's coefficients.

    The mesh follows the measured surface without its detail, so it is nearer to the face than the model with
    these coefficients; they serve to animate it and to compare faces.

    Raises:
        MesofaceError: a file cannot be written.
    """
    write_obj(folder / "base.obj", source.base)
    fit = source.face.fit
    # From the model's own axes to those of the exported mesh.
    rotation, translation = source.world
    content = {
        "face_model": fit.model.name,
        "identity": fit.identity.tolist(),
        "expression": fit.expression.tolist(),
        "coefficients": "identity in standard deviations; expression too, or weights 0 to 1 of blendshapes",
        "unit": "mm",
        "rotation": (rotation.T @ fit.rotation).tolist(),
        "translation": (rotation.T @ (fit.translation - translation)).tolist(),
        "formula": "base.obj is about rotation @ model(identity, expression) + translation",
    }
    with atomic_file(folder / "base_fit.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return [
        f"base.obj: {len(source.base.vertices):,} vertices; base_fit.json: {len(fit.identity)} identity and "
        f"{len(fit.expression)} expression weights of {fit.model.name}"
    ]
