"""Displacement in FaceScape's ``dpmap`` layout (Yang et al., CVPR 2020): 16 bits, 32768 = none, ±0.914 mm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.export.source import ExportSource
from mesoface.files.dpmap import FULL_SCALE_MM, SIZE, decode_dpmap, encode_dpmap
from mesoface.files.maps import write_png
from mesoface.geometry.mesh import Mesh, unit


def export_dpmap(source: ExportSource, folder: Path) -> list[str]:
    """Write ``dpmap.png``, 4096², in the base mesh's UVs; values beyond ±0.914 mm are clipped and counted.

    FaceScape looks v up in row ``H - int(v · H)``, one below the texel of v: rows are written one lower to
    match its formula.

    Raises:
        MesofaceError: nothing was measured, or the file cannot be written.
    """
    displacement = source.required_detail.displacement
    enlarged = cv2.resize(displacement, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    lowered = np.concatenate([enlarged[:1], enlarged[:-1]])
    write_png(folder / "dpmap.png", encode_dpmap(lowered))
    clipped = float((np.abs(displacement) > FULL_SCALE_MM).mean() / (displacement != 0).mean())
    return [f"dpmap.png: {SIZE}², ±{FULL_SCALE_MM} mm; {100 * clipped:.1f} % of the displaced texels clipped"]


def displace_by_dpmap(mesh: Mesh, dpmap: NDArray[np.uint16]) -> Mesh:
    """FaceScape's detailed mesh: subdivided once at the edges' middles, moved along the vertex normals.

    Normals are the sum of the unit normals of the faces around; the map is read at the nearest texel,
    row ``H - int(v · H)`` and column ``int(u · W)``.

    Args:
        mesh: with a UV for every vertex.
        dpmap: (H, W) uint16.

    Raises:
        ValueError: the mesh has no UVs, or UVs that are not its vertices' own.
    """
    if mesh.uv is None or mesh.uv_faces is not None:
        raise ValueError("every vertex needs one UV")
    import trimesh  # here, because only this function needs it

    columns = np.column_stack([mesh.vertices, mesh.uv])
    columns, faces = trimesh.remesh.subdivide(columns, mesh.faces)
    vertices, uv = columns[:, :3], columns[:, 3:]
    fine = Mesh(vertices, faces, uv)
    per_face = np.repeat(fine.face_normals(), 3, axis=0)
    normal = np.column_stack(
        [np.bincount(faces.ravel(), per_face[:, axis], len(vertices)) for axis in range(3)]
    )
    height, width = dpmap.shape
    row = np.clip(height - (uv[:, 1] * height).astype(int), 0, height - 1)
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    amount = decode_dpmap(dpmap[row, column])
    return replace(fine, vertices=vertices + unit(normal) * amount[:, None])
