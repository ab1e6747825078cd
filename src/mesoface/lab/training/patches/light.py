"""Light on a patch: what its skin sends to every side, and the highlights that move with the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.scene import Lighting, draw_lighting
from mesoface.lab.training.patches.scale import log_uniform


@dataclass(frozen=True, eq=False)
class Gloss:
    """How shiny the skin is.

    Args:
        strength: 0 is none, 1 as an even dielectric, more where sweat and oil cover the roughness.
        sharpness: exponent of the Blinn–Phong lobe.
    """

    strength: float
    sharpness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Gloss:
        """Matt in three of ten, else from a sheen to sweat."""
        matt = rng.uniform() < 0.3
        return cls(0.0 if matt else log_uniform(rng, 0.3, 5), log_uniform(rng, 8, 120))


def draw_light(rng: np.random.Generator) -> Lighting:
    """One to three soft lights, as in a studio or anywhere round the face, and the light of the room."""
    lighting = draw_lighting(rng)
    turn = Rotation.from_euler("y", rng.normal(0, 0.6) if rng.uniform() < 0.4 else 0.0)
    chosen = rng.permutation(3)[: rng.integers(1, 4)]
    lights = tuple(
        replace(
            light,
            direction=turn.apply(light.direction),
            colour=light.colour * rng.uniform(0.5, 1.5),
            spread=light.spread * log_uniform(rng, 0.3, 1),
        )
        for light in (lighting.lights[k] for k in chosen)
    )
    ambient = log_uniform(rng, 0.3, 2)
    return replace(lighting, lights=lights, sky=ambient * lighting.sky, ground=ambient * lighting.ground)


def diffuse(
    albedo: NDArray[np.float32],
    normals: NDArray[np.float32],
    cavity: NDArray[np.float32],
    lighting: Lighting,
) -> NDArray[np.float32]:
    """(n, n, 3) linear radiance of the skin without its gloss: Lambert, softened as in skin.

    Args:
        albedo: (n, n, 3) linear RGB.
        normals: (n, n, 3) unit, in the frame of the lights.
        cavity: (n, n) from 0 to 1 in the depth of pits, which get less light from the room.
        lighting: lights and room.
    """
    flat = normals.reshape(-1, 3).astype(np.float64)
    room = lighting.sky_irradiance(flat) * (1 - 0.4 * cavity.reshape(-1, 1))
    total = sum((light.wrapped(flat) for light in lighting.lights), start=room)
    return albedo * total.reshape(albedo.shape).astype(np.float32)


def highlights(
    normals: NDArray[np.float32], view: NDArray[np.float32], gloss: Gloss, lighting: Lighting
) -> NDArray[np.float32]:
    """(..., 3) radiance mirrored to the camera: normalised Blinn–Phong with Schlick's Fresnel term.

    Args:
        normals: (..., 3) unit.
        view: (3,) unit, towards the camera, in the same frame.
        gloss: of the skin.
        lighting: its lights.
    """
    total = np.zeros_like(normals)
    for light in lighting.lights:
        direction = light.direction.astype(np.float32)
        half = unit(view + direction)
        exponent = np.float32(gloss.sharpness / (1 + 0.5 * gloss.sharpness * light.spread**2))
        lobe = np.maximum(normals @ half, 0) ** exponent * ((exponent + 8) / 8)
        fresnel = 0.028 + 0.972 * (1 - float(view @ half)) ** 5
        facing = np.maximum(normals @ direction, 0)
        total += (gloss.strength * fresnel * lobe * facing)[..., None] * light.colour.astype(np.float32)
    return total
