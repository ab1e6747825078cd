"""``face.obj``: the detailed mesh in the face model's topology, with material, colour and normal map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mesoface.export.asset import CLAY, make_asset
from mesoface.export.normals import encode_normals
from mesoface.export.source import ExportSource
from mesoface.files.atomic import atomic_file
from mesoface.files.maps import write_png
from mesoface.files.meshes import write_obj

_EDGE_MM = 1.0


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
