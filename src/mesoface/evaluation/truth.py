"""Points on a surface, and the true surface with its facial region, prepared once for many measurements."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.geometry.closest_point import Closest, MeshSurface
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster

REGION_REACH = 15.0
"""How far, in mm, a point may be from the region mesh and still belong to the region."""

_TILTED = 8  # rays around the one along the normal
_LIFT = 0.3  # mm
_FREE = 40.0  # mm


@dataclass(frozen=True, eq=False)
class Deviation:
    """How N points deviate from the true surface.

    Args:
        signed: (N,) mm, positive outside of the truth.
        normals: (N, 3) the truth's unit normals there.
        counted: (N,) whether the point is in the region and not beyond the rim of the truth.
    """

    signed: NDArray[np.float64]
    normals: NDArray[np.float64]
    counted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points on a mesh.

    Args:
        points: (N, 3) mm.
        face: (N,) the face each lies in.
        bary: (N, 3) and where in it.
    """

    points: NDArray[np.float64]
    face: NDArray[np.int64]
    bary: NDArray[np.float64]

    def select(self, keep: NDArray) -> SurfaceSamples:
        """The samples where ``keep`` (N,) is True (or at those indices)."""
        return SurfaceSamples(self.points[keep], self.face[keep], self.bary[keep])


def sample_surface(
    mesh: Mesh, count: int, *, seed: int = 0, among: NDArray[np.int64] | None = None
) -> SurfaceSamples:
    """``count`` points, uniform by area, stratified along the face order; the same for the same seed.

    They are uniform because a figure must not depend on how densely a surface is triangulated.

    Args:
        mesh: the surface.
        count: how many points.
        seed: of the random generator.
        among: indices of the faces to sample, all by default.

    Raises:
        ValueError: the faces have no area.
    """
    rng = np.random.default_rng(seed)
    among = np.arange(len(mesh.faces)) if among is None else among
    a, b, c = mesh.vertices[mesh.faces[among].T]
    cumulative = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    if not len(among) or cumulative[-1] <= 0:
        raise ValueError("there is no area to sample")
    # one point in each of `count` equal slices of the area
    target = (np.arange(count) + rng.random(count)) * (cumulative[-1] / count)
    face = among[np.minimum(np.searchsorted(cumulative, target, side="right"), len(among) - 1)]
    u, v = np.sqrt(rng.random(count)), rng.random(count)  # Turk, Graphics Gems 1990
    bary = np.column_stack([1 - u, u * (1 - v), u * v])
    points = np.einsum("nk,nkc->nc", bary, mesh.vertices[mesh.faces[face]])
    return SurfaceSamples(points, face, bary)


def checked_surface(mesh: Mesh, what: str) -> MeshSurface:
    """``mesh`` made ready for queries.

    Raises:
        MesofaceError: it has no faces, no area, or numbers that are not finite.
    """
    remedy = "export it again as triangles"
    if not len(mesh.faces):
        raise MesofaceError(f"the {what} has no faces", remedy=remedy)
    if not np.isfinite(mesh.vertices).all():
        raise MesofaceError(f"the {what} has vertices that are not finite numbers", remedy=remedy)
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise MesofaceError(f"the {what} has faces whose vertices do not exist", remedy=remedy)
    try:
        return MeshSurface(mesh)
    except ValueError as error:
        raise MesofaceError(f"the {what} has no face with an area", remedy=remedy) from error


def signed_distances(
    points: NDArray[np.float64], surface: MeshSurface
) -> tuple[Closest, NDArray[np.float64], NDArray[np.float64]]:
    """The places of ``surface`` closest to (N, 3) points, (N,) distances and (N, 3) its unit normals there.

    Distances are positive outside of the surface.
    """
    closest = surface.closest(points)
    normals = surface.normals(closest)
    side = np.einsum("nk,nk->n", points - closest.points, normals)
    return closest, np.copysign(closest.distance, side), normals


class GroundTruth:
    """A true surface, and the part of it that counts.

    Args:
        mesh: the true surface, mm.
        region: a mesh along the facial region, in the truth's frame (the facial part of a fitted base
            mesh, say). A point counts when the closest point of this mesh is within 15 mm and not on its
            rim. None: everything counts.

    Raises:
        MesofaceError: a mesh is empty or broken.
    """

    def __init__(self, mesh: Mesh, region: Mesh | None = None):
        self.surface = checked_surface(mesh, "true surface")
        self.region = None if region is None else checked_surface(region, "facial region")

    def with_region(self, region: Mesh) -> GroundTruth:
        """The same true surface with another region, without preparing the surface again.

        Raises:
            MesofaceError: the region is empty or broken.
        """
        other = copy.copy(self)
        other.region = checked_surface(region, "facial region")
        return other

    def in_region(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether ``points`` (N, 3) lie in the region."""
        if self.region is None:
            return np.ones(len(points), bool)
        low, high = self._box(self.region)
        inside = ((points > low) & (points < high)).all(1)
        closest = self.region.closest(points[inside])
        inside[inside] = (closest.distance <= REGION_REACH) & ~self.region.on_boundary(closest)
        return inside

    @staticmethod
    def _box(region: MeshSurface) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner (3,) of the box outside of which no point belongs to the region."""
        return region.mesh.vertices.min(0) - REGION_REACH, region.mesh.vertices.max(0) + REGION_REACH

    def exposed(self, samples: SurfaceSamples) -> NDArray[np.bool_]:
        """(N,) whether ``samples`` of the truth lie on its outside, as skin does.

        A scan may carry further layers behind the skin: the backs of closed eyelids, the inside of the mouth
        and of the nostrils. A point counts as outside when its normal agrees with the region's and at least
        a third of the rays that leave it around the region's normal (one along it, eight tilted by 45°) are
        free for 40 mm. Without a region everything is outside.
        """
        if self.region is None:
            return np.ones(len(samples.points), bool)
        outward = self.region.normals(self.region.closest(samples.points))
        normals = self.surface.normals_at(samples.face, samples.bary)
        across = np.where(np.abs(outward[:, :1]) < 0.9, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        side = unit(np.cross(outward, across))
        other = np.cross(outward, side)
        turns = np.arange(_TILTED) * 2 * np.pi / _TILTED
        rays = [outward, *(unit(outward + np.cos(a) * side + np.sin(a) * other) for a in turns)]
        caster = RayCaster(self.surface.mesh)
        # The start is lifted off the surface, or its own roughness would stop the ray.
        start = samples.points + _LIFT * normals
        free = sum((caster.cast(start, ray).distance > _FREE).astype(int) for ray in rays)
        return (np.einsum("nk,nk->n", outward, normals) > 0) & (free >= len(rays) / 3)

    def deviation(self, points: NDArray[np.float64], *, inside: bool = False) -> Deviation:
        """Signed distances of ``points`` (N, 3) to the truth, and which of them count.

        Points outside of the region are not measured: their distance is NaN, their normal zero. ``inside``:
        all are known to lie in the region.
        """
        counted = np.ones(len(points), bool) if inside else self.in_region(points)
        signed, normals = np.full(len(points), np.nan), np.zeros((len(points), 3))
        closest, signed[counted], normals[counted] = signed_distances(points[counted], self.surface)
        counted[counted] = ~self.surface.on_boundary(closest)
        return Deviation(signed, normals, counted)

    def samples(self, mesh: Mesh, count: int, seed: int) -> SurfaceSamples:
        """About ``count`` area-uniform samples of the part of ``mesh`` that lies in the region."""
        among = None
        if self.region is not None:
            low, high = self._box(self.region)
            corners = mesh.face_corners()
            among = np.flatnonzero(((corners.max(1) >= low) & (corners.min(1) <= high)).all(1))
        if among is not None and not len(among):
            return SurfaceSamples(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros((0, 3)))
        samples = sample_surface(mesh, count, seed=seed, among=among)
        return samples.select(self.in_region(samples.points))
