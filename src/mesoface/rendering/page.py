"""Self-contained HTML pages: one frame, one style, one content security policy; they make no network request.

Templates elsewhere extend ``frame.html`` and import ``blocks.html`` from ``rendering/templates``. All text is
escaped.

Also the turnable 3D view of a page: surfaces packed into the page, drawn by ``assets/turnable.js``. A vertex
has 20 bytes, little endian: position as 4 × uint16 over the surface's bounding box (of a face, a few
micrometres a step), normal as 4 × int16, place in the UV maps as 2 × uint16 (column, row). Fine relief is
stored in a picture of normals, not in vertices; colours are stored in pictures, too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from mesoface.files.images import SMALL, base64_text, data_uri, jpeg, png
from mesoface.geometry.mesh import Mesh, unit

TEMPLATES = Path(__file__).parent / "templates"
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'"


def render(template: Path, **context: Any) -> str:
    """A page.

    Args:
        template: a file beside which other templates may lie.
        **context: what its head names. ``scene``, HTML from :func:`turnable`, allows its script.
    """
    context = {"policy": _policy(bool(context.get("scene"))), "footer": "", **context}
    return _environment(template.parent).get_template(template.name).render(context)


def fragment(name: str, **context: Any) -> Markup:
    """A part of a page, from a template in ``rendering/templates``."""
    return Markup(_environment(TEMPLATES).get_template(name).render(context))


@cache
def turnable_script() -> Markup:
    """The script of the 3D view."""
    return Markup("\n" + (files("mesoface") / "assets" / "turnable.js").read_text(encoding="utf-8"))


def _policy(scripted: bool) -> str:
    """Nothing is loaded; of scripts the view's own, which is known by its hash."""
    if not scripted:
        return _POLICY
    digest = b64encode(sha256(turnable_script().encode()).digest()).decode("ascii")
    return f"{_POLICY}; script-src 'sha256-{digest}'"


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    return environment


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
