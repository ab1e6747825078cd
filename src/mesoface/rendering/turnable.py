"""The turnable 3D view of a page: surfaces packed into the page, drawn by ``assets/turnable.js``.

A vertex has 20 bytes, little endian: position as 4 × uint16 over the surface's bounding box (of a face, a
few micrometres a step), normal as 4 × int16, place in the UV maps as 2 × uint16 (column, row). Fine relief is
stored in a picture of normals, not in vertices; colours are stored in pictures, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mesoface.files.images import SMALL, base64_text, jpeg, png
from mesoface.geometry.mesh import Mesh, unit
from mesoface.rendering.page import fragment, turnable_script

RGB = NDArray[np.uint8]
Light = Literal["clay", "normals", "bare", "lit"]

_MODES: tuple[Light, ...] = ("clay", "normals", "bare", "lit")  # in the shader's numbering
_VERTEX = np.dtype([("position", "<u2", 4), ("normal", "<i2", 4), ("uv", "<u2", 2)])


@dataclass(frozen=True, eq=False)
class TurnableSurface:
    """A surface of the view.

    Args:
        name: for people, unique.
        mesh: x to the subject's left, y up, z out of the face, mm; with normals.
        shadings: names of the shadings that it can be shown in.
        relief: (H, H, 4) uint8 in UV, or None: fine normals as ``n · 127.5 + 127.5`` in the mesh's axes, and
            255 where there is surface, 0 where there is none.
    """

    name: str
    mesh: Mesh
    shadings: Sequence[str]
    relief: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Shading:
    """A way to colour the surfaces.

    Args:
        name: for people, unique.
        light: ``clay`` and ``normals`` need no picture; ``bare`` shows the picture as it is, ``lit`` in soft
            light, for false colours.
        picture: (H, W, 3) uint8 in UV, or None.
        legend: (h, w, 3) uint8, the colour bar of a false colour.
    """

    name: str
    light: Light
    picture: RGB | None = None
    legend: RGB | None = None


def turnable(surfaces: Sequence[TurnableSurface], shadings: Sequence[Shading]) -> Markup:
    """HTML of the view: canvas, controls, data and script. A page can have one.

    Args:
        surfaces: at least one; the first is shown first.
        shadings: the first must fit every surface.
    """
    pictures = {s.name: _picture(s.picture) for s in shadings if s.picture is not None}
    pictures |= {f"relief of {s.name}": _picture(s.relief) for s in surfaces if s.relief is not None}
    reach = np.max([np.abs(surface.mesh.vertices).max(0) for surface in surfaces], axis=0)
    data = {
        "radius": float(reach[:2].max()),
        "surfaces": [_surface(surface) for surface in surfaces],
        "shadings": [
            {
                "name": shading.name,
                "mode": _MODES.index(shading.light),
                "picture": None if shading.picture is None else shading.name,
            }
            for shading in shadings
        ],
        "pictures": pictures,
    }
    return fragment(
        "turnable.html",
        data=data,
        surfaces=[surface.name for surface in surfaces],
        shadings=[shading.name for shading in shadings],
        legends=[(shading.name, shading.legend) for shading in shadings if shading.legend is not None],
        has_relief=any(surface.relief is not None for surface in surfaces),
        script=turnable_script(),
    )


def _surface(surface: TurnableSurface) -> dict[str, Any]:
    """A surface as the script reads it."""
    mesh = surface.mesh.with_one_index()
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    extent = np.maximum(high - low, 1e-6)
    vertices = np.zeros(len(mesh.vertices), _VERTEX)
    vertices["position"][:, :3] = np.rint((mesh.vertices - low) / extent * 65535)
    vertices["normal"][:, :3] = np.rint(unit(mesh.vertex_normals()) * 32767)
    if mesh.uv is not None:
        place = np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]])
        vertices["uv"] = np.rint(np.clip(place, 0, 1) * 65535)
    wide = len(vertices) > 65536
    return {
        "name": surface.name,
        "shadings": list(surface.shadings),
        "origin": low.tolist(),
        "extent": extent.tolist(),
        "relief": None if surface.relief is None else f"relief of {surface.name}",
        "vertices": base64_text(vertices.tobytes()),
        "faces": base64_text(mesh.faces.astype("<u4" if wide else "<u2").tobytes()),
        "corners": mesh.faces.size,
        "wide": wide,
    }


def _picture(picture: NDArray[np.uint8]) -> dict[str, str]:
    """Colours as JPEG; normals with their mask as PNG, which keeps them."""
    if picture.shape[2] == 3:
        return {"type": "image/jpeg", "data": base64_text(jpeg(picture, 86))}
    return {"type": "image/png", "data": base64_text(png(picture, SMALL))}
