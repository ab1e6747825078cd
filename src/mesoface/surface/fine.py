"""From the measured UVD space to a fine mesh, and the base mesh drawn onto what was measured.

The fine mesh has clean openings, no islands and no spikes. The base mesh keeps the model's own topology; D is
relative to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mesoface.geometry.mesh import Mesh, compact
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import (
    blur_masked,
    dilate,
    erode,
    fill_outside,
    grid_faces,
    sample_map,
    texel_centers,
    uv_to_pixels,
)
from mesoface.uvd.space import Match, UVDSpace, smooth_normals, surface_normals

# A hole in the measured region up to this area is closed by interpolation.
_FILL_MM2 = 60.0
# Tongues of surface narrower than twice this, mm, are cut off.
_RIM_MM = 2.0
# An edge this many times longer than the texels' median is a spike or a tear.
_LONGEST_EDGE = 6.0


@dataclass(frozen=True, eq=False)
class SurfaceCoverage:
    """What became of the facial mask's texels.

    Args:
        kept: (H, H) texels of the fine mesh.
        filled: (H, H) those of them that were interpolated over small holes.
        left_out: share of the facial mask that is not in the fine mesh.
    """

    kept: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    left_out: float


def clean_coverage(match: Match) -> SurfaceCoverage:
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
    outside = _largest_parts(np.pad(~valid[1:-1, 1:-1], 1, constant_values=True), share=0.5)
    touching = np.unique(labels[dilate(outside, 1) & holes])
    small = stats[:, cv2.CC_STAT_AREA] * texel**2 <= _FILL_MM2
    small[touching] = False
    small[0] = False
    filled = small[labels] if count > 1 else np.zeros_like(valid)
    kept = solid | filled
    return SurfaceCoverage(kept, filled, float(1 - kept.sum() / max(valid.sum(), 1)))


def fine_mesh(
    space: UVDSpace,
    kept: NDArray[np.bool_],
    measured: NDArray[np.bool_] | None = None,
    uncertainty: NDArray[np.float32] | None = None,
    *,
    every_quad: bool = False,
) -> Mesh:
    """Two triangles per quad of kept texels, wound outward, with UVs and normals.

    Quads that are torn (an edge many times longer than usual) or turned inside out are left out.

    Args:
        space: UVD space whose zero is the surface.
        kept: (H, H) texels to use.
        measured: (H, H) texels that were measured, for the vertices' flag; None: no flag.
        uncertainty: (H, H) mm, for the vertices' own; None: they have none.
        every_quad: keep torn ones too, so that the mesh has no hole.

    Returns:
        mesh with one vertex a texel; vertices share their index between positions, UVs and normals.
    """
    points = space.position.reshape(-1, 3).astype(np.float64)
    faces = grid_faces(kept)
    faces = faces if every_quad else faces[~_torn_faces(space, faces)]
    faces, used = compact(faces, len(points))
    normals = surface_normals(space.position, space.normal).reshape(-1, 3)
    uv = texel_centers(space.size).reshape(-1, 2)
    flag = None if measured is None else measured.ravel()[used]
    sigma = None if uncertainty is None else uncertainty.ravel()[used]
    normal = normals[used].astype(np.float64)
    return Mesh(points[used], faces, uv[used], None, normal, measured=flag, uncertainty=sigma)


def find_torn(space: UVDSpace, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, H) texels of quads that :func:`fine_mesh` leaves out of a surface of the ``kept`` texels."""
    faces = grid_faces(kept)
    torn = np.zeros(kept.size, bool)
    torn[faces[_torn_faces(space, faces)].ravel()] = True
    return torn.reshape(kept.shape)


def _torn_faces(space: UVDSpace, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(F,) which triangles of the texels' grid are torn or turned inside out."""
    a, b, c = space.position.reshape(-1, 3).astype(np.float64)[faces.T]
    edges = b - a, c - a, c - b
    longest = np.sqrt(np.maximum.reduce([np.einsum("fk,fk->f", edge, edge) for edge in edges]))
    normal = np.cross(edges[0], edges[1])
    outward = np.einsum("fk,fk->f", normal, space.normal.reshape(-1, 3)[faces[:, 0]])
    upright = outward > 0.1 * np.linalg.norm(normal, axis=1)
    return ~(upright & (longest < _LONGEST_EDGE * space.texel_mm))


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
    column, row = np.rint(uv_to_pixels(mesh.uv, size)).astype(np.int64).T
    out = np.full((size, size, *values.shape[1:]), np.nan, np.float32)
    out[row, column] = values
    return out


def _largest_parts(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Connected parts of at least ``share`` of the largest one's area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return (area >= share * max(area.max(), 1))[labels] & mask


# By how much the rays to both sides of the base overlap.
_OVERLAP_MM = 0.05


def smooth_base(space: UVDSpace, kept: NDArray[np.bool_], smooth_mm: float = 3.0) -> UVDSpace:
    """The measured surface without its detail: positions and normals under a Gaussian of ``smooth_mm``.

    This is the surface that ``base.obj`` follows and that D is written relative to.
    """
    sigma = smooth_mm / space.texel_mm
    position = fill_outside(blur_masked(space.position, kept, sigma), kept)
    return replace(space, position=position, normal=smooth_normals(position, kept, sigma, space.normal))


def conform_base(base: Mesh, facial: NDArray[np.bool_], space: UVDSpace, kept: NDArray[np.bool_]) -> Mesh:
    """Move the base mesh's vertices to where ``space`` has their UVs.

    Vertices that were not measured follow smoothly: the motion solves Laplace's equation on the mesh.

    Args:
        base: fitted base mesh.
        facial: (F,) its faces in the facial mask.
        space: from :func:`smooth_base`.
        kept: (H, H) measured texels.
    """
    assert base.uv is not None
    vertex, uv = base.faces[facial].ravel(), base.uv[base.uv_index[facial].ravel()]
    # Not the rim itself: beyond it positions are continued as constants, which a sample there would mix in.
    known = sample_map(kept.astype(np.float32), uv) > 0.99
    vertex, uv = vertex[known], uv[known]
    vertex, first = np.unique(vertex, return_index=True)
    motion = np.zeros_like(base.vertices)
    motion[vertex] = sample_map(space.position, uv[first]) - base.vertices[vertex]
    fixed = np.zeros(len(base.vertices), bool)
    fixed[vertex] = True
    return base.with_vertices(base.vertices + extend_smoothly(motion, fixed, base.faces))


def extend_smoothly(
    values: NDArray, fixed: NDArray[np.bool_], faces: NDArray[np.int64], *, pull: float = 1e-3
) -> NDArray[np.float64]:
    """Continuation of (N, 3) ``values`` from the ``fixed`` vertices over the mesh: Laplace's equation.

    Args:
        values: (N, 3).
        fixed: (N,) vertices that keep their values.
        faces: (F, 3).
        pull: to zero, in units of an edge's. Little of it keeps parts without any fixed vertex (eyeballs,
            teeth) where they are; with more, values fade out over edge length · √(1.5 / pull).
    """
    n = len(values)
    i, j = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    adjacency = sparse.coo_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), (n, n)).tocsr()
    adjacency.data[:] = 1
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = sparse.diags(degree + pull) - adjacency
    free = ~fixed
    out = values.copy()
    if free.any() and fixed.any():
        right = -laplacian[free][:, fixed] @ values[fixed]
        out[free] = spsolve(laplacian[free][:, free].tocsc(), right).reshape(-1, 3)
    return out


def measure_displacement(
    base: UVDSpace, fine: Mesh, *, reach_mm: float = 8.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Signed distance from the base to the fine surface along the base's normals, by ray casting.

    Where the line along the normal meets the surface several times (a nostril's wing over the cheek) the
    meeting nearest to the base counts.

    Args:
        base: from :func:`smooth_base`.
        fine: the fine mesh.
        reach_mm: how far to look, to both sides.

    Returns:
        displacement (H, H) float32 mm, 0 where nothing was met, and (H, H) where something was.
    """
    valid = base.valid
    origin = base.position[valid].astype(np.float64)
    normal = base.normal[valid].astype(np.float64)
    caster = RayCaster(fine)
    # Each ray starts a little on the other side, so that a surface on the base itself is not missed.
    reach = reach_mm + 2 * _OVERLAP_MM
    outwards = caster.distances(origin - _OVERLAP_MM * normal, normal, reach) - _OVERLAP_MM
    reach = np.minimum(np.abs(outwards) + 2 * _OVERLAP_MM, reach)  # what is farther away does not count
    inwards = _OVERLAP_MM - caster.distances(origin + _OVERLAP_MM * normal, -normal, reach)
    nearest = np.where(np.abs(inwards) <= np.abs(outwards), inwards, outwards)
    met = np.abs(nearest) < reach_mm
    displacement, found = np.zeros(valid.shape, np.float32), np.zeros(valid.shape, bool)
    displacement[valid], found[valid] = np.where(met, nearest, 0), met
    return displacement, found
