"""The true surface with its facial region, prepared once and measured against many times."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.evaluation.sampling import Samples, sample_surface
from mesoface.geometry.closest_point import Surface
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


def checked_surface(mesh: Mesh, what: str) -> Surface:
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
        return Surface(mesh)
    except ValueError as error:
        raise MesofaceError(f"the {what} has no face with an area", remedy=remedy) from error


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
        low, high = self.region.mesh.vertices.min(0), self.region.mesh.vertices.max(0)
        inside = ((points > low - REGION_REACH) & (points < high + REGION_REACH)).all(1)
        closest = self.region.closest(points[inside])
        inside[inside] = (closest.distance <= REGION_REACH) & ~self.region.on_boundary(closest)
        return inside

    def exposed(self, samples: Samples) -> NDArray[np.bool_]:
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
        side = unit(
            np.cross(outward, np.where(np.abs(outward[:, :1]) < 0.9, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
        )
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

        Points outside of the region are not measured: their distance is NaN, their normal zero. ``inside``
        says that all are known to lie in the region.
        """
        counted = np.ones(len(points), bool) if inside else self.in_region(points)
        signed, normals = np.full(len(points), np.nan), np.zeros((len(points), 3))
        closest = self.surface.closest(points[counted])
        normal = self.surface.normals(closest)
        side = np.einsum("nk,nk->n", points[counted] - closest.points, normal)
        signed[counted], normals[counted] = np.copysign(closest.distance, side), normal
        counted[counted] = ~self.surface.on_boundary(closest)
        return Deviation(signed, normals, counted)

    def samples(self, mesh: Mesh, count: int, seed: int) -> Samples:
        """About ``count`` area-uniform samples of the part of ``mesh`` that lies in the region."""
        among = None
        if self.region is not None:
            low = self.region.mesh.vertices.min(0) - REGION_REACH
            high = self.region.mesh.vertices.max(0) + REGION_REACH
            corners = mesh.face_corners()
            among = np.flatnonzero(((corners.max(1) >= low) & (corners.min(1) <= high)).all(1))
        if among is not None and not len(among):
            return Samples(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros((0, 3)))
        samples = sample_surface(mesh, count, seed=seed, among=among)
        return samples.select(self.in_region(samples.points))
