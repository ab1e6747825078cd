"""A face in the turnable 3D view: its surfaces, and the pictures that colour them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from mesoface.evaluation.display import round_limit
from mesoface.files.images import as_uint8
from mesoface.geometry.mesh import Mesh, unit
from mesoface.rendering.clay import ReducedSurface, ReliefMaps, detailed_relief, reduce_surface
from mesoface.rendering.false_color import colorize, legend_bar
from mesoface.rendering.page import TEMPLATES, Shading, TurnableSurface, render, turnable
from mesoface.surface.fine import vertex_map
from mesoface.uvd.maps import dilate, fill_outside

if TYPE_CHECKING:
    from mesoface.results.face import Face

GRID = 250
"""Side of the grid that the measured surface is drawn on, texels: what is finer is in its map of normals."""

# Largest side of the pictures, pixels.
_RELIEF, _COLOR, _FALSE_COLOR = 1024, 1024, 512
# Shadings of the measured surface alone, where there are such.
_FALSE_COLORS = ("confidence", "uncertainty", "error")


def face_view(
    face: Face, reduced: ReducedSurface | None, errors: NDArray[np.float64] | None = None
) -> Markup:
    """The 3D view of a page; the arguments are those of :func:`face_surfaces` and :func:`face_shadings`."""
    return turnable(face_surfaces(face, reduced), face_shadings(face, errors))


def notebook_view(face: Face) -> str:
    """The 3D view in a frame of its own, which neither reads the notebook nor makes a request."""
    reduced = None if face.fine is None else reduce_surface(face.fine, GRID)
    page = render(TEMPLATES / "notebook.html", title="mesoface", scene=face_view(face, reduced))
    style = "width: 100%; height: 860px; border: 0"
    return f'<iframe sandbox="allow-scripts" srcdoc="{escape(page)}" style="{style}"></iframe>'


def face_surfaces(face: Face, reduced: ReducedSurface | None) -> list[TurnableSurface]:
    """The measured surface where there is one (``reduced``), and the base mesh, in the face's own axes."""
    rotation, facial = face.fit.rotation, face.base.select_faces(face.fit.model.topology.facial)
    own = facial.vertices @ rotation
    center = rotation @ ((own.min(0) + own.max(0)) / 2)  # of its box along its own axes, mm in the world
    names = ["clay", "normals", *(["texture"] if face.texture is not None else [])]
    base = facial if face.fine is None else face.base
    surfaces = [TurnableSurface("base mesh", _turned(base, rotation, center), names)]
    if reduced is not None:
        mesh = _turned(reduced.mesh, rotation, center)
        relief = _picture(reduced.relief, rotation)
        surfaces.insert(0, TurnableSurface("measured surface", mesh, [*names, *_FALSE_COLORS], relief))
        if face.fine is not None and face.relief is not None:
            detailed = _picture(detailed_relief(face.fine, face.relief.height), rotation)
            surfaces.insert(1, TurnableSurface("with predicted relief", mesh, names, detailed))
    return surfaces


def face_shadings(face: Face, errors: NDArray[np.float64] | None = None) -> list[Shading]:
    """The shadings of these surfaces.

    Args:
        face: the result.
        errors: (N,) distances of the fine mesh's vertices to the true surface, mm, NaN where unknown.
    """
    shadings = [Shading("clay", "clay"), Shading("normals", "normals")]
    if face.texture is not None:
        color = _shrunk(face.texture.color, _COLOR)
        shadings.insert(0, Shading("texture", "bare", as_uint8(color)))
    fine = face.fine
    if fine is None:
        return shadings
    confidence = np.where(fine.kept, fine.confidence, np.nan)
    shadings.append(_false_color("confidence", confidence, (0, 1), "0: none, 1: the photos agree", "viridis"))
    if fine.uncertainty is not None and fine.measured.any():
        sigma = np.where(fine.measured, fine.uncertainty, np.nan)
        limits = (0.0, round_limit(sigma))
        shadings.append(_false_color("uncertainty", sigma, limits, "one standard deviation, mm", "turbo"))
    if errors is not None:
        limits = (0.0, round_limit(errors))
        values = vertex_map(fine.mesh, errors, len(fine.kept))
        shadings.append(_false_color("error", values, limits, "distance to the true surface, mm", "turbo"))
    return shadings


def _picture(relief: ReliefMaps, rotation: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, H, 4) uint8: the measured normals in the face's axes; the mask of the surface."""
    normal = unit(_shrunk(relief.normals, _RELIEF)) @ rotation.astype(np.float32)
    there = _shrunk(relief.shown, _RELIEF)
    return np.dstack([np.rint(normal * 127.5 + 127.5), np.where(there >= 0.5, 255, 0)]).astype(np.uint8)


def _shrunk(values: NDArray, size: int) -> NDArray[np.float32]:
    """A square map, at most ``size`` texels wide."""
    values = np.asarray(values, np.float32)
    if len(values) <= size:
        return values
    return cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA)


def _false_color(
    name: str, values: NDArray, limits: tuple[float, float], label: str, colormap: str
) -> Shading:
    """A UV map, NaN where unknown, as a shading with its colour bar."""
    size = min(_FALSE_COLOR, len(values))
    small = cv2.resize(values.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST)
    known = np.isfinite(small)
    # The nearest colour beyond the rim keeps grey from bleeding in.
    colors = np.where(known[..., None], colorize(small, limits, colormap), 0)
    reach = dilate(known, 3) & ~known
    colors = np.where(reach[..., None], fill_outside(colors, known), colors)
    colors[~known & ~reach] = colorize(np.array([np.nan]), limits, colormap)[0]
    return Shading(name, "lit", as_uint8(colors), legend_bar(limits, label, colormap))


def _turned(mesh: Mesh, rotation: NDArray[np.float64], center: NDArray[np.float64]) -> Mesh:
    """``mesh`` in the face's axes: x to the subject's left, y up, z out of the face."""
    normals = mesh.vertex_normals() @ rotation
    return Mesh((mesh.vertices - center) @ rotation, mesh.faces, mesh.uv, mesh.uv_faces, normals)
