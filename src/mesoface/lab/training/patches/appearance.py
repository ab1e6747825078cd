"""The colour of a patch of skin, the light on it, and the highlights that move with the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.scene import Lighting, draw_lighting
from mesoface.lab.synthesis.skin import skin_albedo
from mesoface.lab.training.patches.fields import hairs, log_uniform, spots, waves
from mesoface.lab.training.patches.surface import SAMPLES


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


def draw_albedo(rng: np.random.Generator, cavity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw the colour of a patch: from evenly coloured to freckled or hairy.

    Args:
        rng: source of chance.
        cavity: (n, n) from 0 on even skin to 1 in the depth of pits.

    Returns:
        (n, n, 3) linear RGB in [0, 1].
    """
    n = len(cavity)
    dark = rng.beta(1.3, 2.2)
    melanin = 0.10 + 2.8 * dark**1.6
    m = melanin * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    h = rng.uniform(0.25, 0.5) * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    if rng.uniform() < 0.7:
        m += rng.uniform(0, 0.8) * cavity
    if rng.uniform() < 0.3:  # freckles and moles
        sigma = log_uniform(rng, 0.6, 5) * SAMPLES
        strength = log_uniform(rng, 0.05, 0.9) * (0.5 + melanin)
        m += strength * np.minimum(spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.002, 0.05)), 1.5)
    if rng.uniform() < 0.15:
        m, h = _add_region(rng, m, h)
    albedo = skin_albedo(np.maximum(m, 0), np.maximum(h, 0))
    if rng.uniform() < 0.15:
        cover = hairs(
            rng,
            n,
            width=rng.uniform(0.3, 1.2) * SAMPLES,
            length=log_uniform(rng, 3, 30) * SAMPLES,
            density=log_uniform(rng, 0.3, 6),
        )
        cover = rng.uniform(0.3, 1) * cover[..., None]
        albedo += cover * (rng.uniform(0.01, 0.15) * np.array([1.3, 1.0, 0.8]) - albedo)
    return albedo.astype(np.float32)


def _unevenness(rng: np.random.Generator, n: int, contrast: float) -> NDArray[np.float32]:
    """(n, n) of zero mean; from patches of the whole square down to a texel."""
    shortest = SAMPLES * log_uniform(rng, 1.0, 4.0)
    return np.float32(contrast) * waves(rng, n, shortest=shortest, longest=n, slope=rng.uniform(1.0, 3.2))


def _add_region(
    rng: np.random.Generator, m: NDArray[np.float32], h: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Another colour on one side of a clear border: lips, a brow, a scar."""
    n = len(m)
    field = waves(rng, n, shortest=n / 4, longest=n, slope=3)
    inside = (field > rng.uniform(-0.5, 0.8)).astype(np.float32)
    inside = cv2.GaussianBlur(inside, (0, 0), log_uniform(rng, 0.5, 5) * SAMPLES)
    if rng.uniform() < 0.5:
        return m, h + log_uniform(rng, 0.05, 0.8) * inside
    return m + rng.uniform(-0.4, 1.0) * inside * m, h
