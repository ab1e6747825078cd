"""The true displacement of a UVD space, from a mesh of the true surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import Hits, RayCaster
from mesoface.uvd.space import UVDSpace

# By how much the rays to both sides of the base overlap, mm.
_OVERLAP_MM = 0.05
# A point this far behind what a camera meets first is still taken for it, mm.
_SKIN_MM = 0.3


@dataclass(frozen=True, eq=False)
class TrueDisplacement:
    """What is true about each texel of a UVD space.

    Args:
        displacement: (H, W) float32 mm along the space's normals; NaN where it is not known.
        tilt: (H, W) float32 angle between the true surface and the space's normal, radians; NaN likewise.
    """

    displacement: NDArray[np.float32]
    tilt: NDArray[np.float32]


class TrueSurface:
    """A mesh of the true surface, ready to be met along normals.

    Only its outside counts, the side that photos show. A scan may carry further layers behind the skin (the
    backs of the lids, the inside of the mouth); a point counts when the face there looks outward and at least
    one camera sees it.

    Args:
        mesh: wound outward, mm.
        cameras: of the capture.
    """

    def __init__(self, mesh: Mesh, cameras: Sequence[Camera]):
        self.mesh = mesh
        self._caster = RayCaster(mesh)
        self._normals = mesh.vertex_normals()
        self._centers = [camera.center for camera in cameras]

    def along(self, space: UVDSpace, reach_mm: float) -> TrueDisplacement:
        """Where the normals of ``space`` meet the surface, at most ``reach_mm`` away to either side.

        Of several meetings the nearest to the base counts, as in
        :func:`mesoface.surface.fine.measure_displacement`.
        """
        origin = space.position[space.valid].astype(np.float64)
        normal = space.normal[space.valid].astype(np.float64)
        # Each ray starts a little on the other side, so that a surface on the base itself is not missed.
        out = self._met(self._caster.cast(origin - _OVERLAP_MM * normal, normal), normal)
        into = self._met(self._caster.cast(origin + _OVERLAP_MM * normal, -normal), normal)
        outwards, inwards = out[0] - _OVERLAP_MM, _OVERLAP_MM - into[0]
        nearer = np.abs(inwards) <= np.abs(outwards)
        distance = np.where(nearer, inwards, outwards)
        cosine = np.where(nearer, into[1], out[1])
        met = np.flatnonzero(np.abs(distance) <= reach_mm)
        met = met[self._seen(origin[met] + distance[met, None] * normal[met])]
        displacement = np.full(space.valid.shape, np.nan, np.float32)
        tilt = displacement.copy()
        row, column = (index[met] for index in np.nonzero(space.valid))
        displacement[row, column] = distance[met]
        tilt[row, column] = np.arccos(np.clip(cosine[met], -1, 1))
        return TrueDisplacement(displacement, tilt)

    def _met(
        self, hits: Hits, normal: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) distances, infinite where a ray met nothing or an inside, and (N,) cosines to ``normal``."""
        a, b, c = self.mesh.vertices[self.mesh.faces[np.maximum(hits.face, 0)]].transpose(1, 0, 2)
        outward = np.einsum("nk,nk->n", np.cross(b - a, c - a), normal) > 0
        smooth = hits.interpolate(self._normals, self.mesh.faces)
        cosine = np.einsum("nk,nk->n", smooth, normal) / np.maximum(np.linalg.norm(smooth, axis=1), 1e-9)
        return np.where(hits.hit & outward, hits.distance, np.inf), cosine

    def _seen(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether a ray from any camera reaches the point."""
        seen = np.zeros(len(points), bool)
        for center in self._centers:
            ask = np.flatnonzero(~seen)
            seen[ask] = ~self._caster.blocked(center, points[ask], _SKIN_MM)
        return seen
