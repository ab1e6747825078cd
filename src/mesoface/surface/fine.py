"""From the measured UVD space to a fine mesh: clean openings, no islands, no spikes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh, compact
from mesoface.uvd.maps import dilate, erode
from mesoface.uvd.rasterize import grid_faces, texel_centers
from mesoface.uvd.space import Match, UVDSpace, surface_normals

# A hole in the measured region up to this area is closed by interpolation.
_FILL_MM2 = 60.0
# Tongues of surface narrower than twice this, mm, are cut off.
_RIM_MM = 2.0
# An edge this many times longer than the texels' median is a spike or a tear.
_LONGEST_EDGE = 6.0


@dataclass(frozen=True, eq=False)
class Coverage:
    """What became of the facial mask's texels.

    Args:
        kept: (H, H) texels of the fine mesh.
        filled: (H, H) those of them that were interpolated over small holes.
        left_out: share of the facial mask that is not in the fine mesh.
    """

    kept: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    left_out: float


def clean_coverage(match: Match) -> Coverage:
    """Decide which texels become surface.

    Ragged rims and islands go; small holes that lie inside of the mask are closed. Eye, mouth and
    nostril openings are not part of the mask and stay open.
    """
    valid, measured = match.space.valid, match.measured
    texel = match.space.texel_mm
    radius = max(1, round(_RIM_MM / texel))
    solid = dilate(erode(measured, radius), radius) & measured
    solid = _largest_parts(solid, share=0.05)
    holes = valid & ~solid
    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes.astype(np.uint8), connectivity=4)
    # A hole that touches the outer rim of the mask is the end of the measured region, not a hole in it.
    rim = ~valid | _border(valid.shape)
    outside = _largest_parts(rim, share=0.5)
    touching = np.unique(labels[dilate(outside, 1) & holes])
    small = stats[:, cv2.CC_STAT_AREA] * texel**2 <= _FILL_MM2
    small[touching] = False
    small[0] = False
    filled = small[labels] if count > 1 else np.zeros_like(valid)
    kept = solid | filled
    return Coverage(kept, filled, float(1 - kept.sum() / max(valid.sum(), 1)))


def fine_mesh(space: UVDSpace, kept: NDArray[np.bool_]) -> Mesh:
    """Two triangles per quad of kept texels, wound outward, with UVs and normals.

    Quads that are torn (an edge many times longer than usual) or turned inside out are left out.

    Args:
        space: UVD space whose zero is the surface.
        kept: (H, H) texels to use.

    Returns:
        mesh with one vertex a texel; vertices share their index between positions, UVs and normals.
    """
    points = space.position.reshape(-1, 3).astype(np.float64)
    faces = grid_faces(kept)
    a, b, c = points[faces.T]
    edges = b - a, c - a, c - b
    longest = np.sqrt(np.maximum.reduce([np.einsum("fk,fk->f", edge, edge) for edge in edges]))
    normal = np.cross(edges[0], edges[1])
    outward = np.einsum("fk,fk->f", normal, space.normal.reshape(-1, 3)[faces[:, 0]])
    upright = outward > 0.1 * np.linalg.norm(normal, axis=1)
    faces = faces[upright & (longest < _LONGEST_EDGE * space.texel_mm)]
    faces, used = compact(faces, len(points))
    normals = surface_normals(space.position, space.normal).reshape(-1, 3)
    uv = texel_centers(space.size).reshape(-1, 2)
    return Mesh(points[used], faces, uv[used], None, normals[used].astype(np.float64))


def vertex_map(mesh: Mesh, values: NDArray, size: int) -> NDArray[np.float32]:
    """Values at the vertices of :func:`fine_mesh`, back on their texels.

    Args:
        mesh: one vertex a texel.
        values: (N,) or (N, C).
        size: H, side of the map.

    Returns:
        (H, H) or (H, H, C) float32, NaN where there is no vertex.
    """
    if mesh.uv is None:
        raise ValueError("the mesh has no UVs")
    column = np.rint(mesh.uv[:, 0] * size - 0.5).astype(np.int64)
    row = np.rint((1 - mesh.uv[:, 1]) * size - 0.5).astype(np.int64)
    out = np.full((size, size, *values.shape[1:]), np.nan, np.float32)
    out[row, column] = values
    return out


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    border = np.ones(shape, bool)
    border[1:-1, 1:-1] = False
    return border


def _largest_parts(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Connected parts of at least ``share`` of the largest one's area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return (area >= share * max(area.max(), 1))[labels] & mask
