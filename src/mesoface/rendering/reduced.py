"""The measured surface reduced for pictures: its form as a small mesh, its relief as a map of normals."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh, compact, unit
from mesoface.rendering.clay import ReliefMaps
from mesoface.uvd.maps import blur_masked, dilate, fill_outside, resize_map
from mesoface.uvd.rasterize import grid_faces, texel_centers
from mesoface.uvd.space import FineSurface, surface_normals

# Standard deviation of the blur that separates relief from form, mm.
_RELIEF_MM = 3.0


@dataclass(frozen=True, eq=False)
class ReducedSurface:
    """A surface to be drawn, in the capture's world.

    Args:
        mesh: its form, mm, a little beyond its rim, with UVs and the base's smoothed normals.
        relief: the measured normals, and where the surface ends, as maps as fine as it was measured.
    """

    mesh: Mesh
    relief: ReliefMaps


def reduce_surface(fine: FineSurface, size: int) -> ReducedSurface:
    """``fine`` on a grid of at most ``size``² vertices, and the normals of all that was measured."""
    measured = fine.space.displaced(fill_outside(fine.displacement, fine.kept))
    size = min(size, len(fine.kept))
    everywhere = np.ones_like(fine.kept)
    position = resize_map(measured, everywhere, size).astype(np.float64)
    normal = unit(resize_map(fine.space.normal, everywhere, size))
    cover = cv2.resize(fine.kept.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0
    faces, used = compact(grid_faces(dilate(cover, 1)), size * size)
    uv = texel_centers(size).reshape(-1, 2)[used]
    mesh = Mesh(position.reshape(-1, 3)[used], faces, uv, None, normal.reshape(-1, 3)[used])
    return ReducedSurface(mesh, ReliefMaps(surface_normals(measured, fine.space.normal), fine.kept))


def detailed_relief(fine: FineSurface, height: NDArray[np.float32]) -> ReliefMaps:
    """The normals of what was measured with predicted relief on it, as fine as the prediction.

    Args:
        fine: the measured surface.
        height: (M, M) relief along its normals, mm.
    """
    size = len(height)
    measured = fine.space.displaced(fill_outside(fine.displacement, fine.kept))
    position = resize_map(measured, np.ones_like(fine.kept), size)
    outward = unit(resize_map(fine.space.normal, np.ones_like(fine.kept), size))
    normal = surface_normals(position, outward)
    shown = resize_map(fine.kept.astype(np.float32), np.ones_like(fine.kept), size) > 0.5
    return ReliefMaps(surface_normals(position + height[..., None] * normal, outward), shown)


def exaggerated_relief(fine: FineSurface, factor: float) -> ReliefMaps:
    """The normals with relief finer than a few millimetres scaled by ``factor``; the form is kept."""
    displacement = fill_outside(fine.displacement, fine.kept)
    smooth = blur_masked(displacement, np.ones_like(fine.kept), _RELIEF_MM / fine.space.texel_mm)
    high = fine.space.displaced(displacement + (factor - 1) * (displacement - smooth))
    return ReliefMaps(surface_normals(high, fine.space.normal), fine.kept)
