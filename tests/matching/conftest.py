"""A bumpy, textured sphere cap, ray traced into synthetic views: the surface is known everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import UVDSpace
from tests.cap import RADIUS, directions, grid_triangles, grid_uv

MARGIN = 0.06  # of the UV square that the cap leaves free at each side
CENTER = np.array([0, 0, 70.0])  # where the cameras look


def relief(direction: NDArray) -> NDArray:
    """(..., 3) unit directions → (...,) height of the bumps over the sphere, mm."""
    x, y = RADIUS * direction[..., 0], RADIUS * direction[..., 1]
    return 0.8 * np.sin(x / 5) * np.cos(y / 6)


def texture(points: NDArray, seed: int) -> NDArray:
    """(..., 3) mm → (...,) brightness: waves in space of 3 to 20 mm."""
    rng = np.random.default_rng(seed)
    wave = unit(rng.normal(size=(60, 3))) * (2 * np.pi / np.geomspace(3, 20, 60))[:, None]
    phase = rng.uniform(0, 2 * np.pi, 60)
    return 0.5 + 0.035 * np.sin(points @ wave.T + phase).sum(-1)


@dataclass(frozen=True, eq=False)
class Cap:
    """The cap with bumps of ``bumps`` × 0.8 mm, moved outwards by ``offset`` mm."""

    bumps: float = 1.0
    offset: float = 0.0

    def radius(self, direction: NDArray) -> NDArray:
        """(..., 3) unit directions → (...,) distance of the surface from the origin, mm."""
        return RADIUS + self.offset + self.bumps * relief(direction)

    def points(self, uv: NDArray) -> NDArray:
        """(..., 2) UV → (..., 3) points of the surface, mm."""
        direction = directions(uv)
        return self.radius(direction)[..., None] * direction

    def space(self, size: int) -> UVDSpace:
        """The cap's maps; D runs away from the origin."""
        uv = texel_centers(size)
        position = self.points(uv)
        valid = np.abs(uv - 0.5).max(-1) < 0.5 - MARGIN
        return UVDSpace(position.astype(np.float32), unit(position).astype(np.float32), valid)

    def mesh(self, count: int = 49) -> Mesh:
        """The cap as a grid of ``count``² vertices, with UVs."""
        uv = grid_uv(count, MARGIN, 1 - MARGIN)
        return Mesh(self.points(uv), grid_triangles(count), uv)

    def distance(self, points: NDArray) -> NDArray:
        """(..., 3) mm → (...,) signed distance from the surface along the radius, mm."""
        points = np.asarray(points, np.float64)
        return np.linalg.norm(points, axis=-1) - self.radius(unit(points))


def make_camera(yaw_deg: float, pitch_deg: float = 0.0, size: int = 240) -> Camera:
    """Camera 600 mm from the cap's middle that has the whole cap in its square photo."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    away = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    R, t = look_at(CENTER + 600 * away, CENTER)
    middle = (size - 1) / 2
    return Camera(np.array([[5.6 * size, 0, middle], [0, 5.6 * size, middle], [0, 0, 1]]), R, t, size, size)


@lru_cache(maxsize=64)
def _photo(yaw: float, pitch: float, size: int, bumps: float, seed: int) -> NDArray[np.float32]:
    camera, mesh = make_camera(yaw, pitch, size), Cap(bumps).mesh(181)
    hits = RayCaster(mesh).render(camera)
    brightness = texture(hits.interpolate(mesh.vertices, mesh.faces), seed)
    grey = np.where(hits.hit, np.clip(brightness, 0, 1), 0.1).reshape(size, size)
    return np.repeat(grey[..., None], 3, 2).astype(np.float32)


def photograph(
    yaw: float, pitch: float = 0.0, *, size: int = 240, bumps: float = 1.0, seed: int = 3, name: str = ""
) -> View:
    """A photo of the cap; another ``seed`` is another skin."""
    image = _photo(yaw, pitch, size, bumps, seed)
    return View(name or f"{yaw:+.0f}{pitch:+.0f}", image, make_camera(yaw, pitch, size))


# Five views, alternately from above and below.
ARC = ((-28.0, 8.0), (-14.0, -8.0), (0.0, 8.0), (14.0, -8.0), (28.0, 8.0))


class Scenes:
    """What the tests draw from."""

    cap = Cap
    arc = ARC
    camera = staticmethod(make_camera)
    photograph = staticmethod(photograph)
    texture = staticmethod(texture)

    def views(self, arc: Sequence[tuple[float, float]] = ARC, **kwargs) -> list[View]:
        """Photos from several directions (yaw, pitch), degrees."""
        return [photograph(yaw, pitch, **kwargs) for yaw, pitch in arc]


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Cameras, photos and the true surface of the cap."""
    return Scenes()
