"""Places on a head's surface: which skin is open to view, and the nearest point of it."""

from __future__ import annotations

import numpy as np
import trimesh.triangles
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mesoface.mesh import Mesh, unit
from mesoface.raycast import RayCaster


def exposure(mesh: Mesh, directions: int = 200) -> NDArray[np.float64]:
    """(F,) how much of the sky above each triangle is open, cosine-weighted: near 0 inside nostrils and mouth."""
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


def nearest_on_surface(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    points: NDArray[np.float64],
    candidates: int = 40,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Nearest point of a mesh.

    Args:
        vertices: (N, 3).
        triangles: (F, 3).
        points: (P, 3).
        candidates: how many triangles, nearest by their centres, are looked at for each point.

    Returns:
        (P,) triangle, (P, 3) barycentric coordinates in it, (P,) distance.
    """
    corners = vertices[triangles]
    _, near = cKDTree(corners.mean(1)).query(points, k=min(candidates, len(triangles)))  # (P, K)
    count = near.shape[1]
    flat = corners[near.ravel()]
    closest = trimesh.triangles.closest_point(flat, np.repeat(points, count, 0)).reshape(-1, count, 3)
    distance = np.linalg.norm(closest - points[:, None], axis=2)
    best = distance.argmin(1)
    row = np.arange(len(points))
    face = near[row, best]
    return face, barycentric(corners[face], closest[row, best]), distance[row, best]


def barycentric(corners: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, 3) coordinates of ``points`` (P, 3) in triangles ``corners`` (P, 3, 3), kept inside."""
    bary = trimesh.triangles.points_to_barycentric(corners, points)
    bary = np.clip(np.nan_to_num(bary, nan=1 / 3), 0, None)
    return bary / bary.sum(1, keepdims=True)


def vertex_normals(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 3) unit normals."""
    return unit(Mesh(vertices, triangles).vertex_normals())
