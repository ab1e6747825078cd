"""Agreement with points of which the truth is known: structure-from-motion points, markers, probes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mesoface.errors import MesofaceError
from mesoface.evaluation.metrics import WITHIN
from mesoface.evaluation.truth import checked_surface
from mesoface.geometry.mesh import Mesh

ON_FACE = 10.0
"""Points farther from the mesh than this, mm, are taken for something else than the face."""


@dataclass(frozen=True)
class PointStats:
    """Distances of points to a mesh.

    Args:
        mean: mm.
        median: mm.
        p90: 90th percentile, mm.
        bias: mean signed distance, mm; positive where the points lie outside of the mesh.
        within: share within each of ``metrics.WITHIN``, keyed ``"0.2"`` …
        count: points that were measured.
        given: points that were given.
    """

    mean: float
    median: float
    p90: float
    bias: float
    within: dict[str, float]
    count: int
    given: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def points_to_mesh(points: ArrayLike, mesh: Mesh, *, reach: float = ON_FACE) -> PointStats:
    """How far ``points`` are from ``mesh``, over those that lie on the face.

    Measured are the points within ``reach`` of the mesh whose closest point is not on its rim: hair,
    clothes and background, which the mesh does not cover, say nothing about it.

    Args:
        points: (N, 3) mm; rows with NaN are passed over.
        mesh: mm.
        reach: mm.

    Raises:
        MesofaceError: the mesh is empty or broken, or no point lies on it.
    """
    everything = np.asarray(points, np.float64).reshape(-1, 3)
    given = len(everything)
    finite = everything[np.isfinite(everything).all(1)]
    surface = checked_surface(mesh, "mesh")
    low, high = mesh.vertices.min(0) - reach, mesh.vertices.max(0) + reach
    near = finite[((finite >= low) & (finite <= high)).all(1)]
    closest = surface.closest(near)
    keep = (closest.distance <= reach) & ~surface.on_boundary(closest)
    if not keep.any():
        raise MesofaceError(
            f"none of the {given} points lies on the mesh",
            remedy="check that both are in the same frame and unit",
        )
    distance = closest.distance[keep]
    side = np.einsum("nk,nk->n", near - closest.points, surface.normals(closest))[keep]
    return PointStats(
        mean=float(distance.mean()),
        median=float(np.median(distance)),
        p90=float(np.percentile(distance, 90)),
        bias=float(np.copysign(distance, side).mean()),
        within={f"{limit:g}": float((distance <= limit).mean()) for limit in WITHIN},
        count=int(keep.sum()),
        given=given,
    )
