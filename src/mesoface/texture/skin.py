"""The surface that photos are looked up from, as UV maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.uvd.fine_surface import FineSurface
from mesoface.uvd.maps import fill_outside, resize_map
from mesoface.uvd.rasterize import grid_faces, rasterize_uv
from mesoface.uvd.space import UVDSpace, smooth_normals

# Reach of the normals' smoothing: a photo's weight shall follow the form, not the pores.
_NORMAL_MM = 3.0


@dataclass(frozen=True, eq=False)
class Skin:
    """Where every texel lies in space.

    Args:
        space: position (S, S, 3) mm on the measured surface, and on the base mesh where nothing was measured;
            normal (S, S, 3) unit, smoothed; valid (S, S) what photos may colour: the measured surface, and
            the openings in it (eyes, mouth, nostrils) on the base mesh.
        covered: (S, S) where there is a surface at all: also what is only known as the base mesh.
    """

    space: UVDSpace
    covered: NDArray[np.bool_]

    def mesh(self) -> Mesh:
        """The surface as triangles, for ray casting."""
        return Mesh(self.space.position.reshape(-1, 3).astype(np.float64), grid_faces(self.space.valid))

    def resized(self, size: int) -> Skin:
        """The same at another resolution."""
        covered = resize_map(self.covered.astype(np.float32), np.ones_like(self.covered), size) > 0.5
        return Skin(self.space.resized(size), covered)


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
    raster = rasterize_uv(base.uv, base.uv_index, fine.space.size)
    kept = fine.kept
    valid, covered = kept | (_enclosed(kept) & raster.valid), kept | raster.valid
    fitted = raster.interpolate(base.vertices, base.faces)
    position = np.where(kept[..., None], fine.space.displaced(fine.displacement), fitted)
    position = fill_outside(position, covered)
    space = UVDSpace(position, fine.space.normal, valid)
    normal = smooth_normals(position, covered, _NORMAL_MM / space.texel_mm, fine.space.normal)
    return Skin(UVDSpace(position, normal, valid), covered)


def _enclosed(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, H) holes in ``kept``: what is connected to the map's edge only through it."""
    around = np.pad(~kept, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    return ((labels != labels[0, 0]) & (around > 0))[1:-1, 1:-1]
