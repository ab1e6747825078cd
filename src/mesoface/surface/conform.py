"""The base mesh in the model's own topology, drawn onto what was measured, and D relative to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import blur_masked, fill_outside, sample_map
from mesoface.uvd.space import UVDSpace, smooth_normals

# By how much the rays to both sides of the base overlap.
_OVERLAP_MM = 0.05


def smooth_base(space: UVDSpace, kept: NDArray[np.bool_], smooth_mm: float = 3.0) -> UVDSpace:
    """The measured surface without its detail: positions and normals under a Gaussian of ``smooth_mm``.

    This is the surface that ``base.obj`` follows and that D is written relative to.
    """
    sigma = smooth_mm / space.texel_mm
    position = np.where(kept[..., None], blur_masked(space.position, kept, sigma), space.position)
    position = fill_outside(position, kept)
    normal = smooth_normals(position, kept, sigma, space.normal)
    return replace(space, position=position, normal=normal)


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
    uv_faces = base.uv_index
    vertex = base.faces[facial].ravel()
    uv = base.uv[uv_faces[facial].ravel()]
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
        solution = spsolve(laplacian[free][:, free].tocsc(), right)
        out[free] = solution.reshape(-1, 3)
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
    displacement = np.zeros(valid.shape, np.float32)
    found = np.zeros(valid.shape, bool)
    displacement[valid] = np.where(met, nearest, 0)
    found[valid] = met
    return displacement, found
