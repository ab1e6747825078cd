"""The photographed scene: surfaces with colour and gloss, soft lights, an overcast sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Array
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.synthesis.anatomy import scatter

# Light leaves skin a little beside the point where it entered, red furthest: it reaches past the terminator.
_WRAP = np.array([0.25, 0.12, 0.08])
_PROBES_MOST = 40_000  # points at which occlusion is measured
_SKY_RAYS, _LIGHT_RAYS = 32, 8
_LIFT = 0.4  # mm above the surface at which those rays begin


@dataclass(frozen=True, eq=False)
class Light:
    """A soft light.

    Args:
        direction: (3,) unit, towards the light.
        colour: (3,) linear RGB irradiance on a surface that faces it.
        spread: sine of its angular radius.
    """

    direction: Array
    colour: Array
    spread: float

    def wrapped(self, normals: Array) -> Array:
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
    sky: Array
    ground: Array
    backdrop: Array

    def sky_irradiance(self, normals: Array) -> Array:
        """(N, 3) unit normals → (N, 3) ambient irradiance."""
        up = (0.5 + 0.5 * normals[:, 1])[:, None]
        return up * self.sky + (1 - up) * self.ground


def towards(azimuth: float, elevation: float) -> Array:
    """(3,) unit direction from angles in radians: azimuth from +z to +x, elevation to +y."""
    across = np.cos(elevation)
    return np.array([np.sin(azimuth) * across, np.sin(elevation), np.cos(azimuth) * across])


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """A studio: key light from above on one side, fill from the other, a rim light, bounce from below."""
    side = rng.choice([-1.0, 1.0])

    def light(azimuth: float, elevation: float, strength: float, spread: float) -> Light:
        a, e = np.deg2rad(side * azimuth + rng.normal(0, 6)), np.deg2rad(elevation + rng.normal(0, 5))
        direction = unit(towards(a, e))
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


@dataclass(frozen=True, eq=False)
class Part:
    """One surface.

    Args:
        mesh: N vertices.
        albedo: (N, 3) linear RGB.
        gloss: (N,) strength of the highlight, 1 is that of clean skin.
        sharpness: (N,) Blinn–Phong exponent.
    """

    mesh: Mesh
    albedo: Array
    gloss: Array
    sharpness: Array


@dataclass(frozen=True, eq=False)
class LitScene:
    """All parts in one mesh with the light that does not depend on the viewer.

    Args:
        caster: ray caster over the whole mesh of N vertices.
        lighting: the lights.
        values: (N, 8 + L) float32: diffuse radiance (3), normal (3), gloss, sharpness, visible share of
            each of the L lights.
    """

    caster: RayCaster
    lighting: Lighting
    values: NDArray[np.float32]


def with_lights_turned(scene: LitScene, angle_deg: float, rng: np.random.Generator) -> LitScene:
    """The scene with its lights turned about the vertical for what highlights mirror.

    So highlights move from photo to photo, as when a person turns in the light of a room. Diffuse light and
    shadows, which change far less with the lights, stay.

    Args:
        scene: lit.
        angle_deg: standard deviation of the turn, degrees.
        rng: of this photo.
    """
    return replace(scene, lighting=lights_turned(scene.lighting, angle_deg, rng))


def lights_turned(lighting: Lighting, angle_deg: float, rng: np.random.Generator) -> Lighting:
    """The lights after a turn about the vertical, normally distributed of ``angle_deg`` degrees."""
    turn = Rotation.from_euler("y", rng.normal(0, angle_deg), degrees=True)
    moved = tuple(replace(light, direction=turn.apply(light.direction)) for light in lighting.lights)
    return replace(lighting, lights=moved)


def light_scene(parts: Sequence[Part], lighting: Lighting, rng: np.random.Generator) -> LitScene:
    """Join the parts and compute shadows, ambient occlusion and diffuse light at every vertex.

    Occlusion is soft, so it is measured by ray casting at scattered probes and interpolated.

    Args:
        parts: at least one.
        lighting: the lights.
        rng: places of the probes and directions of their rays.
    """
    sizes = [len(part.mesh.vertices) for part in parts]
    starts = np.cumsum(sizes) - sizes
    faces = np.concatenate([part.mesh.faces + start for part, start in zip(parts, starts, strict=True)])
    mesh = Mesh(np.concatenate([part.mesh.vertices for part in parts]), faces)
    normals = np.concatenate([part.mesh.vertex_normals() for part in parts])
    caster = RayCaster(mesh)
    part = np.repeat(np.arange(len(parts)), sizes)
    visible = _visibility(caster, normals, part, lighting, rng)  # (N, 1 + L): sky, lights

    radiance = lighting.sky_irradiance(normals) * visible[:, :1]
    for k, light in enumerate(lighting.lights):
        radiance += light.wrapped(normals) * visible[:, 1 + k, None]
    albedo = np.concatenate([part.albedo for part in parts])
    shine = np.concatenate([np.column_stack([part.gloss, part.sharpness]) for part in parts])
    values = np.column_stack([albedo * radiance, normals, shine, visible[:, 1:]])
    return LitScene(caster, lighting, values.astype(np.float32))


def _visibility(
    caster: RayCaster, normals: Array, part: NDArray[np.int64], lighting: Lighting, rng: np.random.Generator
) -> Array:
    """(N, 1 + L) share of the sky (cosine-weighted) and of each light that each vertex sees."""
    mesh = caster.mesh
    front = 0.25 + (mesh.vertices[mesh.faces].mean(1)[:, 2] > np.percentile(mesh.vertices[:, 2], 25))
    count = min(_PROBES_MOST, len(mesh.vertices) // 6)
    density = front * count / float(mesh.face_areas() @ front)
    probes, face, bary = scatter(mesh, density, rng)
    normal = np.einsum("kc,kcd->kd", bary, normals[mesh.faces[face]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    origins = probes + _LIFT * normal

    def share(directions: Array) -> Array:
        rays = directions.shape[1]
        hits = caster.cast(np.repeat(origins, rays, 0), directions.reshape(-1, 3))
        return 1 - hits.hit.reshape(-1, rays).mean(1)

    # normal + a random point of the unit sphere is distributed as the cosine
    sky = normal[:, None] + _unit_sphere(rng, (len(probes), _SKY_RAYS))
    shares = [share(sky / np.maximum(np.linalg.norm(sky, axis=-1, keepdims=True), 1e-9))]
    for light in lighting.lights:
        ray = light.direction + light.spread * _unit_sphere(rng, (len(probes), _LIGHT_RAYS))
        shares.append(share(ray / np.linalg.norm(ray, axis=-1, keepdims=True)))
    measured = np.stack(shares, 1)

    # Blend near probes that face the same way, of the same part: it is dark under the lids, not on them.
    far = 1e4
    tree = cKDTree(np.column_stack([probes, far * part[mesh.faces[face, 0]]]))
    distance, index = tree.query(np.column_stack([mesh.vertices, far * part]), k=8)
    alike = np.maximum(np.einsum("nc,nkc->nk", normals, normal[index]), 0.02) ** 2
    weight = alike / (distance**2 + 0.5)
    return np.einsum("nk,nkl->nl", weight / weight.sum(1, keepdims=True), measured[index])


def _unit_sphere(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    vectors = rng.standard_normal((*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
