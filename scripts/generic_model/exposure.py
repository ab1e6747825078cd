"""Which skin of a head is open to view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster


def exposure(mesh: Mesh, directions: int = 200) -> NDArray[np.float64]:
    """(F,) how much of the sky above each triangle is open, cosine-weighted: near 0 inside the mouth."""
    k = np.arange(directions) + 0.5
    z, turn = 1 - 2 * k / directions, np.pi * (1 + 5**0.5) * k  # a Fibonacci sphere
    sky = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], 1)
    normal, start = mesh.face_normals(), mesh.face_corners().mean(1)
    caster, total, opened = RayCaster(mesh), np.zeros(len(normal)), np.zeros(len(normal))
    for direction in sky:
        weight = normal @ direction
        up = np.flatnonzero(weight > 0.05)
        hits = caster.cast(start[up] + 0.05 * normal[up], np.tile(direction, (len(up), 1)))
        total[up] += weight[up]
        opened[up] += weight[up] * ~hits.hit
    return opened / np.maximum(total, 1e-9)
