"""Soft lights at infinity, fixed in the world, and an overcast sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import unit

# Light that entered skin comes out a little beside, red furthest: it reaches round the terminator.
_WRAP = np.array([0.25, 0.12, 0.08])


@dataclass(frozen=True, eq=False)
class Light:
    """A soft light.

    Args:
        direction: (3,) unit, towards the light.
        colour: (3,) linear RGB irradiance on a surface that faces it.
        spread: sine of its angular radius.
    """

    direction: NDArray[np.float64]
    colour: NDArray[np.float64]
    spread: float

    def wrapped(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) unit normals → (N, 3) irradiance with the terminator softened as on skin."""
        cosine = (normals @ self.direction)[:, None]
        return self.colour * np.maximum(cosine + _WRAP, 0) / (1 + _WRAP)


@dataclass(frozen=True, eq=False)
class Lighting:
    """All the light in the room.

    Args:
        lights: soft lights.
        sky: (3,) irradiance from above.
        ground: (3,) irradiance from below.
        backdrop: (3,) linear RGB of the wall behind.
    """

    lights: tuple[Light, ...]
    sky: NDArray[np.float64]
    ground: NDArray[np.float64]
    backdrop: NDArray[np.float64]

    def sky_irradiance(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) unit normals → (N, 3) ambient irradiance."""
        up = (0.5 + 0.5 * normals[:, 1])[:, None]
        return up * self.sky + (1 - up) * self.ground


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """A studio: key light from above on one side, fill from the other, a rim light, bounce from below."""
    side = rng.choice([-1.0, 1.0])

    def light(azimuth: float, elevation: float, strength: float, spread: float) -> Light:
        a, e = np.deg2rad(side * azimuth + rng.normal(0, 6)), np.deg2rad(elevation + rng.normal(0, 5))
        direction = unit(np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)]))
        warmth = rng.normal(0, 0.03)
        return Light(direction, strength * np.array([1 + warmth, 1.0, 1 - warmth]), spread)

    lights = (
        light(rng.uniform(20, 50), rng.uniform(20, 45), rng.uniform(0.45, 0.75), rng.uniform(0.12, 0.25)),
        light(-rng.uniform(25, 60), rng.uniform(5, 30), rng.uniform(0.25, 0.45), rng.uniform(0.2, 0.35)),
        light(rng.uniform(95, 130), rng.uniform(10, 40), rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.3)),
    )
    ambient = rng.uniform(0.35, 0.55)
    backdrop = rng.uniform(0.10, 0.30) * np.array([0.96, 1.0, 1.04])
    return Lighting(lights, np.full(3, ambient), np.full(3, 0.6 * ambient), backdrop)
