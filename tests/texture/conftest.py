"""A painted cap of a sphere, photographed: its colour is known at every texel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.texture.weights import Skin
from mesoface.uvd.maps import rasterize_uv, texel_centers
from mesoface.uvd.space import UVDSpace
from tests.cap import RADIUS, SPAN, directions, grid_triangles, grid_uv

BACKGROUND = (0.0, 1.0, 0.0)
LOW, HIGH = 0.1, 0.9  # the cap covers UV [LOW, HIGH]²


def paint_of(uv: NDArray) -> NDArray:
    """(..., 3) colour at (..., 2) UV: waves as wide as the cap and as fine as 3 mm, in [0.3, 0.8]."""
    u, v = np.moveaxis(np.asarray(uv), -1, 0)
    wide = 0.15 * np.sin(5 * u + 3 * v)
    fine = 0.06 * np.sin(200 * u) * np.sin(180 * v)
    return np.stack([0.6 + wide + fine, 0.5 - wide + fine, 0.5 + fine], -1)


def uv_of(points: NDArray) -> NDArray:
    """(..., 3) points on the sphere → (..., 2) UV."""
    x, y, z = np.moveaxis(points / np.linalg.norm(points, axis=-1, keepdims=True), -1, 0)
    return np.stack([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))], -1) / SPAN + 0.5


def photograph(
    angle: float,
    *,
    gain: Sequence[float] = (1, 1, 1),
    plate: tuple[Mesh, Sequence[float]] | None = None,
    size: int = 220,
) -> View:
    """The cap from ``angle`` degrees to its right, 600 mm away; ``plate``: (mesh, colour) before it."""
    turn = np.radians(angle)
    center = 600 * np.array([np.sin(turn), 0.1, np.cos(turn)]) + (0, 0, 70)
    R, t = look_at(center, (0, 0, 75))
    focal = 7.2 * size
    camera = Camera([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], R, t, size, size)
    rays, origin = camera.rays(camera.pixel_grid()), camera.center
    along = rays @ origin
    inside = along**2 - (origin @ origin - RADIUS**2)
    uv = uv_of(origin + rays * (-along - np.sqrt(np.maximum(inside, 0)))[..., None])
    hit = (inside > 0) & (uv >= LOW).all(-1) & (uv <= HIGH).all(-1)
    image = np.where(hit[..., None], paint_of(uv) * gain, BACKGROUND)
    if plate is not None:
        mesh, color = plate
        image[RayCaster(mesh).render(camera).hit.reshape(size, size)] = color
    return View(f"{angle:g}", np.clip(image, 0, 1).astype(np.float32), camera)


@dataclass(frozen=True, eq=False)
class Cap:
    """The painted cap.

    Args:
        skin: its surface, 128².
        photograph: see :func:`photograph`.
        mesh: the same as a mesh with UVs.
    """

    skin: Skin
    photograph: Callable[..., View]
    mesh: Mesh

    def truth(self, size: int) -> NDArray:
        """(size, size, 3) its colour."""
        return paint_of(texel_centers(size))

    def inner(self, size: int, margin: float = 0.04) -> NDArray[np.bool_]:
        """(size, size) texels further than ``margin`` from its rim, UV."""
        return np.max(np.abs(texel_centers(size) - 0.5), -1) < (HIGH - LOW) / 2 - margin


@pytest.fixture(scope="session")
def cap() -> Cap:
    uv, faces = grid_uv(129, LOW, HIGH), grid_triangles(129)
    mesh = Mesh(RADIUS * directions(uv), faces, uv)
    valid = rasterize_uv(uv, faces, 128).valid
    normal = directions(texel_centers(128)).astype(np.float32)
    space = UVDSpace(np.float32(RADIUS) * normal, normal, valid)
    return Cap(Skin(space, valid), photograph, mesh)


@pytest.fixture(scope="session")
def plate() -> Callable[..., Mesh]:
    """``plate(x, z, half=8)`` → a square of 2 · half mm at (x, 0, z), seen from +z."""

    def make(x: float, z: float, half: float = 8.0) -> Mesh:
        corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0.0]])
        return Mesh(corners + (x, 0, z), [[0, 1, 2], [0, 2, 3]])

    return make
