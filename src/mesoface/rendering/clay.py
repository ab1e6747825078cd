"""Shaded pictures of meshes by ray casting: clay, normals, vertex colours, or a scalar in false colour.

A measured surface is drawn as a small mesh of its form, and a map of normals with its relief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh, compact, unit
from mesoface.geometry.ray_casting import Hits, RayCaster
from mesoface.rendering.false_color import colorize, percentile_limits
from mesoface.uvd.maps import (
    blur_masked,
    dilate,
    fill_outside,
    grid_faces,
    resize_map,
    resize_mask,
    sample_map,
    texel_centers,
)
from mesoface.uvd.space import FineSurface, surface_normals

Image = NDArray[np.float32]
Mode = Literal["clay", "normals", "color"]

CLAY = (0.87, 0.82, 0.77)
# (direction in the camera's axes: x right, y down, z away; intensity): key above left, weak fill, rim behind
_LIGHTS = (((-0.70, -0.65, -0.60), 0.74), ((0.85, 0.05, -0.55), 0.20), ((0.45, -0.70, 0.45), 0.30))
_AMBIENT = 0.08
_EDGE = 0.06  # difference of neighbouring pixels that calls for more rays
# How many places where the mesh is cut away a ray passes at most, and how far behind each it continues, mm.
_CUTS, _BEHIND_MM = 8, 1e-3


@dataclass(frozen=True, eq=False)
class ReliefMaps:
    """Shape that is finer than the triangles of a mesh (Blinn 1978), as maps in its UVs.

    Args:
        normals: (H, H, 3) float32 unit normals, in the mesh's axes.
        shown: (H, H) bool; the mesh is cut away where it is False.
    """

    normals: NDArray[np.float32]
    shown: NDArray[np.bool_]


def shade(
    mesh: Mesh | RayCaster,
    camera: Camera,
    *,
    mode: Mode = "clay",
    scalar: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    colormap: str = "turbo",
    smooth: bool = True,
    relief: ReliefMaps | None = None,
    background: Sequence[float] = (1.0, 1.0, 1.0),
    antialias: int = 2,
) -> Image:
    """A picture of ``mesh`` as ``camera`` sees it.

    Args:
        mesh: what is drawn; seen from behind it is drawn darker. Pass a :class:`RayCaster` of it
            (and a mesh with stored normals) to prepare it once for several pictures.
        camera: from where, with its lens if it has one; also the picture's size.
        mode: ``"clay"`` (matt, three soft lights that move with the camera), ``"normals"`` (camera axes as
            RGB: right, up, towards the viewer), ``"color"`` (the mesh's vertex colours, unlit).
        scalar: (N,) a number per vertex drawn in false colour over the clay instead of ``mode``; NaN is grey.
        limits: scalar values at both ends of the colour map; by default its 1st and 99th percentiles.
        colormap: see :func:`mesoface.rendering.false_color.colorize`.
        smooth: interpolate the vertex normals; False shows the facets.
        relief: normals that are drawn instead of the mesh's own, and where it is cut; it then needs UVs, one
            a vertex.
        background: RGB in [0, 1].
        antialias: n × n rays a pixel where neighbouring pixels differ.

    Returns:
        (H, W, 3) RGB float32 in [0, 1].

    Raises:
        ValueError: mode ``"color"`` without vertex colours, a relief without UVs, or an unknown mode.
    """
    if mode not in ("clay", "normals", "color"):
        raise ValueError(f"mode must be clay, normals or color, got {mode!r}")
    caster = mesh if isinstance(mesh, RayCaster) else RayCaster(mesh)
    if mode == "color" and scalar is None and caster.mesh.colors is None:
        raise ValueError("the mesh has no vertex colours")
    if relief is not None and (caster.mesh.uv is None or caster.mesh.uv_faces is not None):
        raise ValueError("a relief needs a mesh with one UV a vertex")
    values = None if scalar is None else np.asarray(scalar, np.float64).reshape(-1)
    limits = percentile_limits(values) if values is not None and limits is None else limits
    surface = relief if relief is not None else caster.mesh.vertex_normals() if smooth else None
    draw = partial(_draw, caster, camera, mode, surface, values, limits, colormap, background)
    grid = camera.pixel_grid()
    picture = draw(grid.reshape(-1, 2)).reshape(camera.height, camera.width, 3)
    if antialias > 1:
        # more rays only where neighbours differ: outlines, wrinkles, edges in the colours
        around = np.ones((3, 3), np.uint8)
        edge = (cv2.dilate(picture, around) - cv2.erode(picture, around)).max(-1) > _EDGE
        steps = (np.arange(antialias) + 0.5) / antialias - 0.5
        shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        rays = (grid[edge][:, None] + shifts).reshape(-1, 2)
        picture[edge] = draw(rays).reshape(-1, len(shifts), 3).mean(1)
    return picture


def _draw(
    caster: RayCaster,
    camera: Camera,
    mode: Mode,
    surface: ReliefMaps | NDArray[np.float64] | None,
    scalar: NDArray[np.float64] | None,
    limits: tuple[float, float] | None,
    colormap: str,
    background: Sequence[float],
    pixels: NDArray[np.float64],
) -> Image:
    """(N, 3) colours of the rays through ``pixels`` (N, 2).

    ``surface`` gives the normals: a relief, (V, 3) vertex normals, or None for the facets. The rest is
    as in :func:`shade`.
    """
    mesh, rays = caster.mesh, camera.rays(pixels)
    hits = _cast(caster, camera.center, rays, surface.shown if isinstance(surface, ReliefMaps) else None)
    hit = hits.hit
    out = np.broadcast_to(np.asarray(background, np.float32), (len(hit), 3)).copy()
    faces, bary = mesh.faces[hits.face[hit]], hits.bary[hit]

    def at_hits(values: NDArray) -> NDArray[np.float64]:
        return np.einsum("nk,nk...->n...", bary, values[faces].astype(np.float64))

    if mode == "color" and scalar is None:
        out[hit] = at_hits(np.asarray(mesh.colors)) / 255
        return out
    a, b, c = mesh.vertices[faces.T]
    normals = np.cross(b - a, c - a)
    behind = np.einsum("nk,nk->n", normals, rays[hit]) > 0
    if isinstance(surface, ReliefMaps):
        normals = sample_map(surface.normals, _uv(mesh, hits, hit))
    elif surface is not None:
        normals = at_hits(surface)
    # A picture has 8 bits: single precision is plenty for its colours, and half the time.
    view = (rays[hit] @ camera.R.T).astype(np.float32)
    normals = unit((normals @ camera.R.T).astype(np.float32))
    normals[behind] *= -1
    if scalar is not None and limits is not None:
        # weak light, so that the colours stay readable
        light = 0.55 + 0.45 * _clay_light(normals, view)
        color = colorize(at_hits(scalar), limits, colormap) * light[:, None]
    elif mode == "clay":
        color = np.array(CLAY, np.float32) * _clay_light(normals, view)[:, None]
    else:
        color = normals * np.array((0.5, -0.5, -0.5), np.float32) + np.float32(0.5)
    out[hit] = np.clip(color * np.where(behind, np.float32(0.45), np.float32(1))[:, None], 0, 1)
    return out


def _cast(
    caster: RayCaster, origin: NDArray[np.float64], rays: NDArray[np.float64], shown: NDArray[np.bool_] | None
) -> Hits:
    """First hits of ``rays`` (N, 3), which go on through what is not ``shown`` (H, H) of the mesh in UV."""
    hits = caster.cast(origin, rays)
    if shown is None:
        return hits
    mesh, there = caster.mesh, shown.astype(np.float32)
    asked = np.flatnonzero(hits.hit)
    for _ in range(_CUTS):
        asked = asked[sample_map(there, _uv(mesh, hits, asked)) < 0.5]
        if not len(asked):
            break
        start = origin + rays[asked] * (hits.distance[asked, None] + _BEHIND_MM)
        beyond = caster.cast(start, rays[asked])
        hits.face[asked], hits.bary[asked] = beyond.face, beyond.bary
        hits.distance[asked] += beyond.distance + _BEHIND_MM
        asked = asked[beyond.hit]
    return hits


def _uv(mesh: Mesh, hits: Hits, which: NDArray) -> NDArray[np.float64]:
    """(M, 2) where in the maps the hits ``which`` (indices or booleans) are."""
    assert mesh.uv is not None
    return np.einsum("nk,nkc->nc", hits.bary[which], mesh.uv[mesh.faces[hits.face[which]]])


def _clay_light(normals: NDArray[np.float32], view: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) brightness of matt clay with a little sheen; ``normals`` and ``view`` (N, 3) in camera axes."""
    light = np.full(len(normals), _AMBIENT, np.float32)
    for direction, strength in _LIGHTS:
        towards = unit(np.array(direction, np.float32))
        # half-wrapped Lambert: soft terminators, as from a large light
        wrapped = np.clip((normals @ towards + 0.15) / 1.15, 0, None)
        half = unit(towards - view)
        sheen = np.clip(np.einsum("nk,nk->n", normals, half), 0, None) ** 24
        light += strength * (wrapped + 0.14 * sheen)
    return np.clip(light, 0, None) ** (1 / 1.25)


def turntable_cameras(
    mesh: Mesh,
    *,
    forward: ArrayLike,
    up: ArrayLike,
    angles: Sequence[float] = (0.0, -40.0, 40.0, 90.0),
    size: tuple[int, int] = (600, 800),
    field_of_view: float = 14.0,
) -> list[Camera]:
    """Cameras around a face, each framing all of ``mesh``.

    Args:
        mesh: what the pictures show.
        forward: (3,) world direction out of the face, towards the viewer of the front picture.
        up: (3,) world direction from chin to forehead.
        angles: turns about ``up`` in degrees; positive shows more of the subject's left side.
        size: (width, height) pixels.
        field_of_view: vertical, degrees: that of a long portrait lens, which keeps a face's proportions.

    Returns:
        one camera per angle, without a lens.
    """
    forward, up = np.asarray(forward, np.float64), unit(np.asarray(up, np.float64))
    forward = unit(forward - up * (forward @ up))
    left = np.cross(up, forward)  # the subject's
    width, height = size
    focal = height / 2 / np.tan(np.radians(field_of_view) / 2)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    low, high = np.percentile(mesh.vertices, [0, 100], axis=0)
    center = (low + high) / 2
    cameras = []
    for angle in np.radians(np.asarray(angles, np.float64)):
        direction = np.cos(angle) * forward + np.sin(angle) * left
        R, _ = look_at(center + direction, center, up)
        offset = (mesh.vertices - center) @ R.T
        x, y = (offset[:, :2].min(0) + offset[:, :2].max(0)) / 2
        offset -= (x, y, 0)
        # the nearest distance from which every vertex is within 94 % of the picture
        slope = 0.94 * np.array([width, height]) / 2 / focal
        distance = float((np.abs(offset[:, :2]) / slope - offset[:, 2:]).max())
        position = center + R[0] * x + R[1] * y - R[2] * distance
        cameras.append(Camera(K, R, -R @ position, width, height))
    return cameras


def face_directions(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The direction that a face looks in and the direction to its forehead, from the mesh alone.

    Forward is the mean normal of the open surface. Up is the direction in which v grows; without UVs it is
    the longest extent across forward, towards the world's +y.

    Returns:
        (3,) forward and (3,) up, unit vectors at a right angle.
    """
    area = mesh.face_crosses()
    forward = unit(area.sum(0))
    if not forward.any():
        raise ValueError("the mesh is closed or empty: it has no front")
    center = mesh.face_corners().mean(1)
    weight = np.linalg.norm(area, axis=1)
    offset = center - (center * weight[:, None]).sum(0) / weight.sum()
    offset -= np.outer(offset @ forward, forward)
    if mesh.uv is not None:
        v = mesh.uv[mesh.uv_index][..., 1].mean(1)
        up = (offset * (weight * (v - (v * weight).sum() / weight.sum()))[:, None]).sum(0)
    else:
        up = np.linalg.eigh((offset * weight[:, None]).T @ offset)[1][:, -1]
        up = up if up[1] >= 0 else -up
    return forward, unit(up - forward * (up @ forward))


# Standard deviation of the blur that separates relief from form, mm.
_RELIEF_MM = 3.0


@dataclass(frozen=True, eq=False)
class ReducedSurface:
    """A surface to be drawn, in the capture's world.

    Args:
        mesh: its form, mm, a little beyond its rim, with UVs and the base's smoothed normals.
        relief: the measured normals, and where the surface ends, as maps as fine as it was measured.
    """

    mesh: Mesh
    relief: ReliefMaps


def reduce_surface(fine: FineSurface, size: int) -> ReducedSurface:
    """``fine`` on a grid of at most ``size``² vertices, and the normals of all that was measured."""
    measured, size = _continued(fine), min(size, len(fine.kept))
    position = resize_map(measured, None, size).astype(np.float64)
    normal = unit(resize_map(fine.space.normal, None, size))
    cover = cv2.resize(fine.kept.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0
    faces, used = compact(grid_faces(dilate(cover, 1)), size * size)
    uv = texel_centers(size).reshape(-1, 2)[used]
    mesh = Mesh(position.reshape(-1, 3)[used], faces, uv, None, normal.reshape(-1, 3)[used])
    return ReducedSurface(mesh, ReliefMaps(surface_normals(measured, fine.space.normal), fine.kept))


def detailed_relief(fine: FineSurface, height: NDArray[np.float32]) -> ReliefMaps:
    """The normals of what was measured with predicted relief on it, as fine as the prediction.

    Args:
        fine: the measured surface.
        height: (M, M) relief along its normals, mm.
    """
    size = len(height)
    position = resize_map(_continued(fine), None, size)
    outward = unit(resize_map(fine.space.normal, None, size))
    higher = position + height[..., None] * surface_normals(position, outward)
    return ReliefMaps(surface_normals(higher, outward), resize_mask(fine.kept, size))


def _continued(fine: FineSurface) -> NDArray[np.float32]:
    """(H, H, 3) mm, the measured surface, continued beyond its rim."""
    return fine.space.displaced(fill_outside(fine.displacement, fine.kept))


def exaggerated_relief(fine: FineSurface, factor: float) -> ReliefMaps:
    """The normals with relief finer than a few millimetres scaled by ``factor``; the form is kept."""
    displacement = fill_outside(fine.displacement, fine.kept)
    smooth = blur_masked(displacement, np.ones_like(fine.kept), _RELIEF_MM / fine.space.texel_mm)
    high = fine.space.displaced(displacement + (factor - 1) * (displacement - smooth))
    return ReliefMaps(surface_normals(high, fine.space.normal), fine.kept)
