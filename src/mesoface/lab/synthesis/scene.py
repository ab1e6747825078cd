"""What is photographed: surfaces with a colour and a gloss, in one mesh, lit once for all views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.synthesis.lights import Lighting
from mesoface.lab.synthesis.noise import scatter

_PROBES_MOST = 40_000  # points at which occlusion is measured
_SKY_RAYS, _LIGHT_RAYS = 32, 8
_LIFT = 0.4  # mm above the surface at which those rays begin


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
    albedo: NDArray[np.float64]
    gloss: NDArray[np.float64]
    sharpness: NDArray[np.float64]


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


def light_scene(parts: Sequence[Part], lighting: Lighting, rng: np.random.Generator) -> LitScene:
    """Join the parts and compute shadows, ambient occlusion and diffuse light at every vertex.

    Occlusion is soft, so it is measured by ray casting at scattered probes and interpolated.

    Args:
        parts: at least one.
        lighting: the lights.
        rng: places of the probes and directions of their rays.
    """
    offsets = np.cumsum([0] + [len(part.mesh.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.mesh.faces + start for part, start in zip(parts, offsets, strict=True)])
    mesh = Mesh(np.concatenate([part.mesh.vertices for part in parts]), faces)
    normals = np.concatenate([part.mesh.vertex_normals() for part in parts])
    caster = RayCaster(mesh)
    part = np.repeat(np.arange(len(parts)), [len(p.mesh.vertices) for p in parts])
    visible = _visibility(caster, normals, part, lighting, rng)  # (N, 1 + L): sky, lights

    albedo = np.concatenate([part.albedo for part in parts])
    radiance = lighting.sky_irradiance(normals) * visible[:, :1]
    for k, light in enumerate(lighting.lights):
        radiance += light.wrapped(normals) * visible[:, 1 + k, None]
    gloss = np.concatenate([part.gloss for part in parts])[:, None]
    sharpness = np.concatenate([part.sharpness for part in parts])[:, None]
    columns = [albedo * radiance, normals, gloss, sharpness, visible[:, 1:]]
    return LitScene(caster, lighting, np.concatenate(columns, 1).astype(np.float32))


def _visibility(
    caster: RayCaster,
    normals: NDArray[np.float64],
    part: NDArray[np.int64],
    lighting: Lighting,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(N, 1 + L) share of the sky (cosine-weighted) and of each light that each vertex sees."""
    mesh = caster.mesh
    front = 0.25 + (mesh.vertices[mesh.faces].mean(1)[:, 2] > np.percentile(mesh.vertices[:, 2], 25))
    count = min(_PROBES_MOST, len(mesh.vertices) // 6)
    density = front * count / float(mesh.face_areas() @ front)
    probes, face, bary = scatter(mesh, density, rng)
    normal = np.einsum("kc,kcd->kd", bary, normals[mesh.faces[face]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    origins = probes + _LIFT * normal

    def share(directions: NDArray[np.float64]) -> NDArray[np.float64]:
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

    # Blend near probes of the same part (what lies under the lids is dark, the lids are not) that face the
    # same way.
    far = 1e4
    tree = cKDTree(np.column_stack([probes, far * part[mesh.faces[face, 0]]]))
    distance, index = tree.query(np.column_stack([mesh.vertices, far * part]), k=8)
    alike = np.maximum(np.einsum("nc,nkc->nk", normals, normal[index]), 0.02) ** 2
    weight = alike / (distance**2 + 0.5)
    return np.einsum("nk,nkl->nl", weight / weight.sum(1, keepdims=True), measured[index])


def _unit_sphere(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    vectors = rng.standard_normal((*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
