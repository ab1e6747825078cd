"""What the report's 3D view shows of a face: its surfaces, and the pictures that colour them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.evaluation.heatmap import round_limit
from mesoface.face import Face, FineSurface
from mesoface.false_color import add_legend, colorize
from mesoface.mesh import Mesh, compact, unit
from mesoface.report.turnable import Shading, Surface
from mesoface.surface.fine import vertex_map
from mesoface.uvd.maps import dilate, fill_outside, resize_map
from mesoface.uvd.rasterize import grid_faces, texel_centers
from mesoface.uvd.space import surface_normals

# Side of the grid that the fine surface is reduced to, texels: its relief is in a picture of normals.
_GRID = 250
# Largest side of the pictures, pixels.
_RELIEF, _COLOR, _FALSE_COLOR = 1024, 1024, 512


def face_surfaces(face: Face) -> list[Surface]:
    """The measured surface where there is one, and the base mesh, in the face's own axes."""
    rotation, center = face.fit.rotation, _center(face)
    own = ["clay", "normals", *(["texture"] if face.texture is not None else [])]
    base = face.base.select_faces(face.fit.model.topology.facial) if face.fine is None else face.base
    surfaces = [Surface("base mesh", _turned(base, rotation, center), own)]
    if face.fine is not None:
        mesh = _turned(_reduced(face.fine), rotation, center)
        relief = _relief(face.fine, rotation)
        surfaces.insert(0, Surface("measured surface", mesh, [*own, "confidence", "error"], relief))
    return surfaces


def face_shadings(face: Face, errors: NDArray[np.float64] | None = None) -> list[Shading]:
    """How they can be shown.

    Args:
        face: the result.
        errors: (N,) distances of the fine mesh's vertices to the true surface, mm, NaN where unknown.
    """
    shadings = [Shading("clay", "clay"), Shading("normals", "normals")]
    if face.texture is not None:
        color = _shrunk(face.texture.color, _COLOR)
        shadings.insert(0, Shading("texture", "bare", np.round(np.clip(color, 0, 1) * 255).astype(np.uint8)))
    fine = face.fine
    if fine is None:
        return shadings
    confidence = np.where(fine.kept, fine.confidence, np.nan)
    shadings.append(_false_color("confidence", confidence, (0, 1), "0: none, 1: the photos agree", "viridis"))
    if errors is not None:
        limits = (0.0, round_limit(errors))
        values = vertex_map(fine.mesh, errors, len(fine.kept))
        shadings.append(_false_color("error", values, limits, "distance to the true surface, mm", "turbo"))
    return shadings


def _reduced(fine: FineSurface) -> Mesh:
    """The surface on a coarser grid, a little beyond its rim, with the base's smoothed normals."""
    size = min(_GRID, len(fine.kept))
    everywhere = np.ones_like(fine.kept)
    position = resize_map(_continued(fine), everywhere, size).astype(np.float64)
    normal = unit(resize_map(fine.space.normal, everywhere, size))
    cover = cv2.resize(fine.kept.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0
    faces, used = compact(grid_faces(dilate(cover, 1)), size * size)
    uv = texel_centers(size).reshape(-1, 2)[used]
    return Mesh(position.reshape(-1, 3)[used], faces, uv, None, normal.reshape(-1, 3)[used])


def _relief(fine: FineSurface, rotation: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, H, 4) uint8: the measured normals in the face's axes, and where there is surface."""
    normal = surface_normals(_continued(fine), fine.space.normal) @ rotation
    mask = fine.kept.astype(np.float32)
    normal, mask = _shrunk(normal, _RELIEF), _shrunk(mask, _RELIEF)
    rgb = np.rint(unit(normal) * 127.5 + 127.5)
    return np.dstack([rgb, np.where(mask >= 0.5, 255, 0)]).astype(np.uint8)


def _continued(fine: FineSurface) -> NDArray[np.float32]:
    """(H, H, 3) measured positions, continued beyond the surface's rim."""
    return fine.space.displaced(fill_outside(fine.displacement, fine.kept))


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
    # beyond the rim the nearest colour, so that none of the grey bleeds in where it is not meant
    colors = np.where(known[..., None], colorize(small, limits, colormap), 0)
    reach = dilate(known, 3) & ~known
    colors = np.where(reach[..., None], fill_outside(colors, known), colors)
    colors[~known & ~reach] = colorize(np.array([np.nan]), limits, colormap)[0]
    legend = add_legend(np.ones((1, 420, 3), np.float32), limits, label, colormap=colormap)[1:]
    picture, bar = (np.round(np.clip(a, 0, 1) * 255).astype(np.uint8) for a in (colors, legend))
    return Shading(name, "lit", picture, bar)


def _turned(mesh: Mesh, rotation: NDArray[np.float64], center: NDArray[np.float64]) -> Mesh:
    """``mesh`` in the face's axes: x to the subject's left, y up, z out of the face."""
    normals = mesh.vertex_normals() @ rotation
    return Mesh((mesh.vertices - center) @ rotation, mesh.faces, mesh.uv, mesh.uv_faces, normals)


def _center(face: Face) -> NDArray[np.float64]:
    """(3,) middle of the face's box along its own axes, mm in the world."""
    facial = face.base.select_faces(face.fit.model.topology.facial)
    own = facial.vertices @ face.fit.rotation
    return face.fit.rotation @ ((own.min(0) + own.max(0)) / 2)
