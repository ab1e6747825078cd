"""``face.glb``: mesh, colour and normal map in one file for any viewer or engine (glTF 2.0)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mesoface.export.asset import CLAY, ROUGHNESS, make_asset
from mesoface.export.gltf import GlbBuilder, to_power_of_two
from mesoface.export.normals import encode_normals
from mesoface.export.source import ExportSource
from mesoface.files.encode import jpeg, png

_EDGE_MM = 2.0  # on the skin: a density for real time
_LARGEST_IMAGE = 2048
_METRES = 0.001


def export_glb(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.glb``: metres, +Y up where ``source`` is upright, metallic-roughness material.

    The normal map is relative to this mesh, whose tangents are in the file: readers need not guess them.
    Colour is a JPEG, the normal map a PNG; their sides are powers of two, 2048 at most.

    Raises:
        MesofaceError: it cannot be written, or the mesh cannot be made.
    """
    asset = make_asset(source, edge_mm=_EDGE_MM)
    drawn = asset.drawn
    glb = GlbBuilder()
    attributes = {
        "POSITION": glb.add_attribute(drawn.position * _METRES, bounds=True),
        "NORMAL": glb.add_attribute(drawn.normal),
        "TEXCOORD_0": glb.add_uv(drawn.uv),
    }
    indices = glb.add_indices(drawn.faces)
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    material: dict[str, Any] = {"name": "skin", "pbrMetallicRoughness": surface}
    if asset.color is None:
        surface["baseColorFactor"] = [*CLAY, 1.0]
    else:
        color = jpeg(to_power_of_two(asset.color, _LARGEST_IMAGE))
        surface["baseColorTexture"] = {"index": glb.add_texture(color, "image/jpeg", "color")}
    if asset.normals is not None:
        attributes["TANGENT"] = glb.add_attribute(drawn.tangent)
        normals = png(to_power_of_two(encode_normals(asset.normals, np.uint8), _LARGEST_IMAGE))
        material["normalTexture"] = {"index": glb.add_texture(normals, "image/png", "normal")}
    rotation, translation = source.world
    glb.show("face", attributes, indices, material)
    glb.document["asset"]["extras"] = {
        "face_model": source.face.fit.model.name,
        "world_mm": {"rotation": rotation.tolist(), "translation": translation.tolist()},
    }
    path = folder / "face.glb"
    glb.write(path)
    return [f"face.glb: {asset.about}, {path.stat().st_size / 1e6:.1f} MB"]
