"""Ray casting against a mesh, with Embree. Used for visibility, rendering and ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import ArrayLike, NDArray

from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of N rays.

    Args:
        face: (N,) index of the face, -1 where nothing was hit.
        bary: (N, 3) barycentric coordinates in it, 0 where nothing was hit.
        distance: (N,) distance along the unit direction, inf where nothing was hit.
    """

    face: NDArray[np.int64]
    bary: NDArray[np.float64]
    distance: NDArray[np.float64]

    @property
    def hit(self) -> NDArray[np.bool_]:
        """(N,) whether anything was hit."""
        return self.face >= 0

    def interpolate(self, values: NDArray, faces: NDArray[np.int64]) -> NDArray[np.float64]:
        """(M, C) values at ``faces`` (F, 3) → (N, C) at the hits; 0 where nothing was hit."""
        corners = values[faces[np.maximum(self.face, 0)]]  # (N, 3, C)
        return np.einsum("nk,nkc->nc", self.bary, corners)


class RayCaster:
    """A mesh that is prepared for ray casting.

    The scene is moved to its centroid first: Embree computes in float32.
    """

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        self._shift = mesh.vertices.mean(0) if len(mesh.vertices) else np.zeros(3)
        self._scene = rtcore_scene.EmbreeScene()
        if len(mesh.faces):
            vertices = (mesh.vertices - self._shift).astype(np.float32)
            self._mesh = TriangleMesh(self._scene, vertices, mesh.faces.astype(np.int32))

    def cast(self, origins: ArrayLike, directions: ArrayLike) -> Hits:
        """First hit of each ray.

        Args:
            origins: (N, 3) or (3,) for one common origin.
            directions: (N, 3) unit vectors.
        """
        origins, directions = _rays(origins, directions)
        n = len(directions)
        face, bary, distance = np.full(n, -1, np.int64), np.zeros((n, 3)), np.full(n, np.inf)
        if self._misses(directions):
            return Hits(face, bary, distance)
        out = self._run(origins, directions, output=True)
        face = out["primID"].astype(np.int64)
        hit = face >= 0
        # Embree's own u, v, t are float32 and rough at grazing angles: solve again in float64.
        a, b, c = self.mesh.vertices[self.mesh.faces[face[hit]].T]
        e1, e2, d = b - a, c - a, directions[hit]
        p = np.cross(d, e2)
        det = np.einsum("nk,nk->n", e1, p)
        det = np.where(np.abs(det) < 1e-12, 1e-12, det)
        s = origins[hit] - a
        q = np.cross(s, e1)
        u = np.clip(np.einsum("nk,nk->n", s, p) / det, 0, 1)
        v = np.clip(np.einsum("nk,nk->n", d, q) / det, 0, 1 - u)
        bary[hit] = np.column_stack([1 - u - v, u, v])
        distance[hit] = np.einsum("nk,nk->n", e2, q) / det
        return Hits(face, bary, distance)

    def distances(
        self, origins: ArrayLike, directions: ArrayLike, reach: ArrayLike = np.inf
    ) -> NDArray[np.float64]:
        """The distances alone that :meth:`cast` finds, in a fraction of its time.

        Args:
            origins: (N, 3) or (3,).
            directions: (N, 3) unit vectors.
            reach: how far to look, (N,) or one number.

        Returns:
            (N,) distance along the direction, inf where nothing was hit.
        """
        origins, directions = _rays(origins, directions)
        distance = np.full(len(directions), np.inf)
        if self._misses(directions):
            return distance
        reach = np.broadcast_to(np.asarray(reach, np.float32), distance.shape).copy()
        out = self._run(origins, directions, dists=reach, output=True)
        hit = out["primID"] >= 0
        # In float64, as in cast: the ray meets the plane of the face that Embree found.
        normal = out["Ng"][hit].astype(np.float64)
        corner = self.mesh.vertices[self.mesh.faces[out["primID"][hit], 0]]
        steep = np.einsum("nk,nk->n", directions[hit], normal)
        steep = np.where(np.abs(steep) < 1e-12, 1e-12, steep)
        distance[hit] = np.einsum("nk,nk->n", corner - origins[hit], normal) / steep
        return distance

    def blocked(self, origins: ArrayLike, targets: ArrayLike, tolerance: float) -> NDArray[np.bool_]:
        """(N,) whether something stands between ``origins`` and ``targets``.

        Args:
            origins: (N, 3) or (3,).
            targets: (N, 3).
            tolerance: mm before a target in which nothing counts: the surface that it lies on.
        """
        origins, targets = _rays(origins, targets)
        if self._misses(targets):
            return np.zeros(len(targets), bool)
        offset = targets - origins
        length = np.linalg.norm(offset, axis=1)
        # Any hit will do, and its distance need not be exact: several times as fast as the first hit.
        reach = np.maximum(length - tolerance, 0).astype(np.float32)
        return np.asarray(self._run(origins, offset / length[:, None], dists=reach, query="OCCLUDED")) >= 0

    def render(self, camera: Camera) -> Hits:
        """First hits of the rays through all pixels of ``camera`` (lens included), row by row: N = H·W."""
        return self.cast(camera.center, camera.rays(camera.pixel_grid()).reshape(-1, 3))

    def _misses(self, rays: NDArray[np.float64]) -> bool:
        """Whether there is nothing to cast, or nothing to hit."""
        return not len(rays) or not len(self.mesh.faces)

    def _run(self, origins: NDArray[np.float64], directions: NDArray[np.float64], **options: Any) -> Any:
        """Embree's answer for the rays, in the axes of the scene."""
        start = np.ascontiguousarray(origins - self._shift, np.float32)
        return self._scene.run(start, np.ascontiguousarray(directions, np.float32), **options)


def _rays(origins: ArrayLike, ends: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3) origins, from one or N of them, and (N, 3) directions or targets."""
    ends = np.asarray(ends, np.float64).reshape(-1, 3)
    return np.broadcast_to(np.asarray(origins, np.float64), ends.shape), ends
