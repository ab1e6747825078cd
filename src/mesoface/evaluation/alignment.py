"""Rigid and similarity alignment of two overlapping surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.errors import MesofaceError
from mesoface.evaluation.truth import sample_surface
from mesoface.geometry.alignment import Similarity
from mesoface.geometry.closest_point import MeshSurface

Array = NDArray[np.float64]

_COARSE, _FINE = 2_000, 15_000  # samples of either surface
_ITERATIONS = 60
_TRIM = 0.9  # share of the closest pairs that is kept
_LEAST_OVERLAP = 0.02  # share of the pairs that must lie off the rims


def align_meshes(
    source: MeshSurface, target: MeshSurface, *, with_scale: bool, initial: Similarity | None = None
) -> Similarity:
    """Fit ``source`` to ``target`` by trimmed point-to-plane ICP.

    Point-to-plane after Chen & Medioni (1992), trimming after Chetverikov et al. (2005). Pairs go both
    ways, from samples of each surface to the other, so that a similarity cannot shrink to where
    everything is close to something. Pairs at an open rim are left out (Turk & Levoy 1994), of the rest
    the closest 90 % are kept.

    Args:
        source: what is moved.
        target: what it is moved to.
        with_scale: whether the scale is free.
        initial: where to begin; None tries "as it is" and "centres and sizes matched", these also with the
            principal axes on top of each other in each of the four ways, and keeps the best.

    Raises:
        MesofaceError: the surfaces do not overlap.
    """
    starts = [initial] if initial is not None else _starts(source, target, with_scale)
    candidates = [_icp(source, target, start, with_scale, _COARSE) for start in starts]
    cost, best = min(candidates, key=lambda found: found[0])
    if np.isfinite(cost):
        cost, best = _icp(source, target, best, with_scale, _FINE)
    if not np.isfinite(cost):
        remedy = "check that both show the same face, or give a start for the alignment"
        raise MesofaceError("the predicted and the true surface do not overlap", remedy=remedy)
    return best


def _starts(source: MeshSurface, target: MeshSurface, with_scale: bool) -> list[Similarity]:
    """Starts: nothing moved; and centres of area (and sizes, ``with_scale``) matched, unturned and turned.

    The worlds of two calibrations are unrelated.
    """
    a, b = (sample_surface(surface.mesh, _COARSE).points for surface in (source, target))
    scale = float(np.sqrt(b.var(0).sum() / a.var(0).sum())) if with_scale else 1.0
    ours, theirs = _principal_axes(a), _principal_axes(b)
    # An axis has no sign of its own; two of three are free in a rotation.
    signs = [np.diag([x, y, x * y]) for x in (1.0, -1.0) for y in (1.0, -1.0)]
    turns = [np.eye(3), *(theirs @ sign @ ours.T for sign in signs)]
    moved = (Similarity(R, b.mean(0) - scale * R @ a.mean(0), scale) for R in turns)
    return [Similarity.identity(), *moved]


def _principal_axes(points: Array) -> Array:
    """(3, 3) rotation whose columns are the principal axes of (N, 3) points."""
    axes = np.linalg.eigh(np.cov(points.T))[1]
    return axes * np.sign(np.linalg.det(axes))


def _icp(
    source: MeshSurface, target: MeshSurface, start: Similarity, with_scale: bool, count: int
) -> tuple[float, Similarity]:
    """How bad it is, and the alignment: the trimmed mean distance over the share of pairs off the rims.

    Infinite when next to nothing of either surface lies over the other.
    """
    ours = sample_surface(source.mesh, count).points
    theirs = sample_surface(target.mesh, count).points
    size = float(np.sqrt(theirs.var(0).sum()))
    current, cost = start, np.inf
    for _ in range(_ITERATIONS):
        moved = current.apply(ours)
        on_target = target.closest(moved)
        back = current.inverse().apply(theirs)
        on_source = source.closest(back)
        p = np.concatenate([moved, current.apply(on_source.points)])
        q = np.concatenate([on_target.points, theirs])
        n = np.concatenate([target.normals(on_target), source.normals(on_source) @ current.R.T])
        keep = ~np.concatenate([target.on_boundary(on_target), source.on_boundary(on_source)])
        overlap = float(keep.mean())
        if overlap < _LEAST_OVERLAP:
            return np.inf, current
        distance = np.linalg.norm(p - q, axis=1)
        keep &= distance <= np.quantile(distance[keep], _TRIM)
        previous, cost = cost, float(distance[keep].mean()) / overlap
        step = _point_to_plane(p[keep], q[keep], n[keep], with_scale)
        current = step.after(current)
        moved_by = np.abs(step.apply(p[keep]) - p[keep]).max()
        if moved_by < 1e-6 * size or abs(previous - cost) < 1e-9 * size:
            break
    return cost, current


def _point_to_plane(p: Array, q: Array, n: Array, with_scale: bool) -> Similarity:
    """The small motion of ``p`` closest to the planes through ``q`` with normals ``n``, all (N, 3)."""
    center = p.mean(0)
    x = p - center
    columns = [np.cross(x, n), n] + ([np.einsum("nk,nk->n", x, n)[:, None]] if with_scale else [])
    A = np.concatenate(columns, 1)
    spread = np.linalg.norm(A, axis=0)  # columns in comparable units for the least squares
    spread[spread == 0] = 1
    solution = np.linalg.lstsq(A / spread, np.einsum("nk,nk->n", q - p, n), rcond=1e-9)[0] / spread
    R = Rotation.from_rotvec(solution[:3]).as_matrix()
    scale = float(np.exp(np.clip(solution[6], -0.5, 0.5))) if with_scale else 1.0
    return Similarity(R, center + solution[3:6] - scale * R @ center, scale)
