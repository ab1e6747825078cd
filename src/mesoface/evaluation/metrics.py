"""The evaluation protocol: how far a predicted face is from the true one, or from points that are known.

Accuracy goes from area-uniform samples of the prediction to the true surface, completeness from samples
of the truth to the prediction (as in Seitz et al., CVPR 2006; Jensen et al., CVPR 2014), both
point-to-surface and inside the facial region. Points of which the truth is known (structure from motion,
markers, probes) are measured against a mesh. See ``docs/evaluation.md``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from mesoface.errors import MesofaceError
from mesoface.evaluation.truth import GroundTruth, checked_surface, sample_surface, signed_distances
from mesoface.geometry.alignment import Similarity
from mesoface.geometry.closest_point import MeshSurface
from mesoface.geometry.mesh import Mesh

WITHIN = (0.2, 0.5, 1.0)
"""Distances, mm, whose shares are reported."""
COMPLETE_WITHIN = 0.5
"""A point of the truth is reconstructed when the prediction is this close, mm."""

ON_FACE = 10.0
"""Points farther from the mesh than this, mm, are not points of the face."""

# of the alignment:
_COARSE, _FINE = 2_000, 15_000  # samples of either surface
_ITERATIONS = 60
_TRIM = 0.9  # share of the closest pairs that is kept
_LEAST_OVERLAP = 0.02  # share of the pairs that must lie off the rims

Array = NDArray[np.float64]
Align = Literal["none", "rigid", "similarity"]


@dataclass(frozen=True)
class Distances:
    """Statistics of point-to-surface distances.

    Args:
        mean: mm.
        median: mm.
        p90: 90th percentile, mm.
        bias: mean signed distance, mm; positive where the measured points lie outside of the other surface.
        within: share of the points within each of ``WITHIN``, keyed ``"0.2"`` …
    """

    mean: float
    median: float
    p90: float
    bias: float
    within: dict[str, float]

    @classmethod
    def of(cls, signed: Array, **others: float) -> Self:
        """Statistics of (N,) signed distances, and what else the class has."""
        distance = np.abs(signed)
        within = {f"{limit:g}": float((distance <= limit).mean()) for limit in WITHIN}
        middle, high = float(np.median(distance)), float(np.percentile(distance, 90))
        return cls(float(distance.mean()), middle, high, float(signed.mean()), within, **others)


@dataclass(frozen=True)
class DistanceStats(Distances):
    """Statistics of the distances and angles between two surfaces: those of :class:`Distances`, and:

    Args:
        normal_angle: mean angle between the interpolated vertex normals of both surfaces, degrees.
        normal_angle_median: its median, degrees.
        count: points measured.
    """

    normal_angle: float
    normal_angle_median: float
    count: int


@dataclass(frozen=True)
class PointStats(Distances):
    """Statistics of the distances of points to a mesh: those of :class:`Distances`, and:

    Args:
        count: points that were measured.
        given: points that were given.
    """

    count: int
    given: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A prediction measured against the truth.

    Args:
        accuracy: prediction → truth.
        completeness: truth → prediction.
        chamfer: mean of the two mean distances, mm.
        complete: share of the truth's region with the prediction within 0.5 mm.
        excluded: share of the prediction's samples in the region that lie beyond the truth's rim and so
            have nothing to be compared with.
        align: how the prediction was aligned.
        alignment: prediction's frame → truth's frame.
        truth: what it was measured against, for heat maps; not part of :meth:`to_dict`.
    """

    accuracy: DistanceStats
    completeness: DistanceStats
    chamfer: float
    complete: float
    excluded: float
    align: Align
    alignment: Similarity
    truth: GroundTruth = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        own = {name: value for name, value in vars(self).items() if name != "truth"}
        directions = {name: asdict(own[name]) for name in ("accuracy", "completeness")}
        return own | directions | {"alignment": self.alignment.to_dict()}


def evaluate(
    prediction: Mesh,
    truth: Mesh | GroundTruth,
    *,
    align: Align = "none",
    region: Mesh | None = None,
    samples: int = 100_000,
    seed: int = 0,
    initial: Similarity | None = None,
) -> Evaluation:
    """Measure ``prediction`` against ``truth``.

    Vertices that were filled in (``Mesh.measured``) do not count: see :mod:`mesoface.evaluation.filled`.

    Args:
        prediction: mesh, mm (any unit with ``align="similarity"``).
        truth: true surface, mm; a :class:`GroundTruth` to measure many predictions against one.
        align: ``"none"`` when frame and scale are known, ``"rigid"`` or ``"similarity"`` to fit the
            prediction to the truth first.
        region: mesh along the facial region, in the prediction's frame (its base mesh, say): the alignment
            moves it along. To measure many predictions in one region, give a :class:`GroundTruth` with a
            region in the truth's frame instead.
        samples: points drawn on either surface (before those outside of the region are left out).
        seed: of the sampling.
        initial: where the alignment starts, prediction → truth; found automatically when None.

    Raises:
        MesofaceError: a mesh is empty or broken, the alignment finds no overlap, or nothing of a surface
            lies in the region.
    """
    if isinstance(truth, GroundTruth):
        if region is not None:
            raise ValueError("a GroundTruth has its own region: leave `region` out")
    else:
        truth = GroundTruth(truth)
    prediction = prediction.measured_part()
    predicted = checked_surface(prediction, "predicted surface")
    if align == "none":
        alignment = initial or Similarity.identity()
    elif align in ("rigid", "similarity"):
        alignment = align_meshes(predicted, truth.surface, with_scale=align == "similarity", initial=initial)
    else:
        raise ValueError(f"align must be none, rigid or similarity, got {align!r}")
    if align != "none" or initial is not None:
        prediction = alignment.apply_to_mesh(prediction)
        predicted = checked_surface(prediction, "predicted surface")
    if region is not None:
        truth = truth.with_region(alignment.apply_to_mesh(region))

    ours = truth.samples(prediction, samples, seed)
    deviation = truth.deviation(ours.points, inside=True)
    keep = deviation.counted
    if not keep.any():
        what = "nothing of the predicted surface lies over the true one in the facial region"
        remedy = "check that both are in the same frame and unit, or align with --align similarity"
        raise MesofaceError(what, remedy=remedy)
    own_normals = predicted.normals_at(ours.face[keep], ours.bary[keep])
    accuracy = distance_stats(deviation.signed[keep], own_normals, deviation.normals[keep])

    theirs = truth.samples(truth.surface.mesh, samples, seed + 1)
    theirs = theirs.select(truth.exposed(theirs))
    if not len(theirs.points):
        what = "nothing of the true surface lies in the facial region"
        raise MesofaceError(what, remedy="check the region's frame and unit")
    closest, signed, normals = signed_distances(theirs.points, predicted)
    completeness = distance_stats(signed, truth.surface.normals_at(theirs.face, theirs.bary), normals)
    return Evaluation(
        accuracy=accuracy,
        completeness=completeness,
        chamfer=(accuracy.mean + completeness.mean) / 2,
        complete=float((closest.distance <= COMPLETE_WITHIN).mean()),
        excluded=float(1 - keep.mean()),
        align=align,
        alignment=alignment,
        truth=truth,
    )


def distance_stats(signed: ArrayLike, normals: ArrayLike, other_normals: ArrayLike) -> DistanceStats:
    """Statistics of (N,) signed distances and of the angles between (N, 3) unit normals, N ≥ 1."""
    signed = np.asarray(signed, np.float64)
    angle = angle_between(np.asarray(normals), np.asarray(other_normals))
    return DistanceStats.of(
        signed,
        normal_angle=float(angle.mean()),
        normal_angle_median=float(np.median(angle)),
        count=len(signed),
    )


def angle_between(a: Array, b: Array) -> Array:
    """(N,) degrees between the unit vectors ``a`` and ``b`` (N, 3), exact for small angles too."""
    return np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)))


def points_to_mesh(points: ArrayLike, mesh: Mesh, *, reach: float = ON_FACE) -> PointStats:
    """How far ``points`` are from ``mesh``, over those that lie on the face.

    Measured are the points within ``reach`` of the mesh whose closest point is not on its rim: hair,
    clothes and background, which the mesh does not cover, are not counted.

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
    closest, signed, _ = signed_distances(near, surface)
    keep = (closest.distance <= reach) & ~surface.on_boundary(closest)
    if not keep.any():
        what = f"none of the {given} points lies on the mesh"
        raise MesofaceError(what, remedy="check that both are in the same frame and unit")
    return PointStats.of(signed[keep], count=int(keep.sum()), given=given)


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
