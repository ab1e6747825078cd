"""``normal_tangent.png`` and ``normal_object.png``: normal maps for the base mesh, 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mesoface.export.displacement import require_detail
from mesoface.export.normal_maps import encode_normals, object_normal_map, tangent_normal_map
from mesoface.export.options import ExportOptions
from mesoface.export.source import ExportSource
from mesoface.export.tangent_space import render_mesh
from mesoface.files.maps import write_png


def export_normals(source: ExportSource, options: ExportOptions, folder: Path) -> list[str]:
    """Write the detailed surface's normals: in the tangent space of ``base.obj``, and in space.

    Both have red for x, green for y (up: "OpenGL"), blue for z. The tangent space is MikkTSpace's, of the
    base mesh with smooth normals as it is exported, not subdivided.

    Args:
        source: the face.
        options: none matter here.
        folder: where the files go.

    Returns:
        what was written, for people.

    Raises:
        MesofaceError: nothing was measured, or a file cannot be written.
    """
    detail = require_detail(source)
    tangent = tangent_normal_map(render_mesh(source.base), source.fit.facial, detail)
    write_png(folder / "normal_tangent.png", encode_normals(tangent, np.uint16))
    write_png(folder / "normal_object.png", encode_normals(object_normal_map(detail), np.uint16))
    return [f"normal_tangent.png, normal_object.png: {detail.size}², 16-bit, for base.obj, green is up"]
