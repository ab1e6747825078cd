"""Shadings of a surface: clay, normals, texture, confidence, error."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mesoface.evaluation.display import round_limit
from mesoface.export.gltf import GlbBuilder, to_power_of_two
from mesoface.files.colour import decode_srgb
from mesoface.files.encode import jpeg
from mesoface.rendering.clay import CLAY
from mesoface.rendering.false_color import colorize, legend_bar
from mesoface.viewer.result import RGB, ViewedResult, ViewedSurface

ShadingName = Literal["clay", "normals", "texture", "confidence", "error"]

UNIT = 0.001
"""A millimetre in the viewer's unit, the metre, whose near and far planes suit a face and its cameras."""

_LARGEST_TEXTURE = 4096


def shadings(result: ViewedResult, surface: ViewedSurface) -> list[ShadingName]:
    """The shadings that ``surface`` has."""
    names: list[ShadingName] = ["clay", "normals"]
    if result.texture is not None and surface.mesh.uv is not None:
        names.append("texture")
    if surface.confidence is not None:
        names.append("confidence")
    if surface.errors is not None:
        names.append("error")
    return names


def shaded_glb(result: ViewedResult, surface: ViewedSurface, shading: ShadingName) -> bytes:
    """``surface`` as a binary glTF file, in metres in the capture's world axes.

    Normals and texture are unlit; clay and false colours are lit.
    """
    mesh, glb = surface.mesh, GlbBuilder()
    attributes = {
        "POSITION": glb.add_attribute(mesh.vertices * UNIT, bounds=True),
        "NORMAL": glb.add_attribute(mesh.vertex_normals()),
    }
    surface_color: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.75}
    material: dict[str, Any] = {"pbrMetallicRoughness": surface_color, "doubleSided": True}
    if shading in ("normals", "texture"):
        material["extensions"] = {"KHR_materials_unlit": {}}
        glb.document["extensionsUsed"] = ["KHR_materials_unlit"]
    if shading == "texture":
        assert result.texture is not None
        assert mesh.uv is not None
        attributes["TEXCOORD_0"] = glb.add_uv(mesh.uv)
        image = glb.add_texture(
            jpeg(to_power_of_two(result.texture, _LARGEST_TEXTURE)), "image/jpeg", "texture"
        )
        surface_color["baseColorTexture"] = {"index": image}
    elif shading == "clay":
        surface_color["baseColorFactor"] = [*(decode_srgb(np.array(CLAY))).tolist(), 1.0]
    else:
        attributes["COLOR_0"] = glb.add_attribute(decode_srgb(_colors(result, surface, shading)))
    glb.show("face", attributes, glb.add_indices(mesh.faces), material)
    return glb.encode()


def legend(surface: ViewedSurface, shading: ShadingName) -> RGB | None:
    """The colour bar of a false colour, None of the others."""
    if shading == "confidence":
        return legend_bar((0.0, 1.0), "1: the photos agree", "viridis")
    if shading == "error" and surface.errors is not None:
        return legend_bar((0.0, round_limit(surface.errors)), "distance to the truth, mm")
    return None


def _colors(result: ViewedResult, surface: ViewedSurface, shading: ShadingName) -> NDArray[np.float64]:
    """(N, 3) sRGB in [0, 1] at the vertices."""
    if shading == "normals":
        return surface.mesh.vertex_normals() @ result.face.fit.rotation * 0.5 + 0.5
    if shading == "confidence":
        assert surface.confidence is not None
        return colorize(surface.confidence, (0, 1), "viridis")
    assert surface.errors is not None
    return colorize(surface.errors, (0, round_limit(surface.errors)))
