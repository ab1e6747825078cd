"""The surface that photos are looked up from, as UV maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.face import FineSurface
from mesoface.mesh import Mesh
from mesoface.uvd.maps import fill_outside
from mesoface.uvd.rasterize import grid_faces, rasterize_uv
from mesoface.uvd.space import UVDSpace, smooth_normals

# Reach of the normals' smoothing: a photo's weight shall follow the form, not the pores.
_NORMAL_MM = 2.0


@dataclass(frozen=True, eq=False)
class Skin:
    """Where every texel lies in space.

    Args:
        space: position (S, S, 3) mm on the measured surface, continued beyond it; normal (S, S, 3) unit,
            smoothed; valid (S, S) what photos may colour: the measured surface, and the openings in it (eyes,
            mouth, nostrils) on the base mesh.
    """

    space: UVDSpace

    def mesh(self) -> Mesh:
        """The surface as triangles, for ray casting."""
        return Mesh(self.space.position.reshape(-1, 3).astype(np.float64), grid_faces(self.space.valid))

    def resized(self, size: int) -> Skin:
        """The same at another resolution."""
        return Skin(self.space.resized(size))


def find_skin(fine: FineSurface, base: Mesh) -> Skin:
    """Put the measured surface and the base mesh's eyes, lips and nostrils together.

    Args:
        fine: the measured surface.
        base: base mesh that follows it, with UVs.

    Raises:
        ValueError: the base mesh has no UVs.
    """
    if base.uv is None:
        raise ValueError("the base mesh has no UVs")
    raster = rasterize_uv(base.uv, base.faces if base.uv_faces is None else base.uv_faces, fine.space.size)
    openings = _enclosed(fine.kept) & raster.valid
    valid = fine.kept | openings
    measured = fine.space.displaced(fine.displacement)
    position = np.where(
        openings[..., None], raster.interpolate(base.vertices.astype(np.float32), base.faces), measured
    )
    position = fill_outside(position, valid)
    space = UVDSpace(position, fine.space.normal, valid)
    normal = smooth_normals(position, valid, _NORMAL_MM / space.texel_mm, fine.space.normal)
    return Skin(UVDSpace(position, normal, valid))


def _enclosed(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, H) holes in ``kept``: what is connected to the map's edge only through it."""
    around = np.pad(~kept, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    return ((labels != labels[0, 0]) & (around > 0))[1:-1, 1:-1]
