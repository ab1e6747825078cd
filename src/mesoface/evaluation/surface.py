"""Exact closest points on a triangle mesh, in bulk, and where its open edges are."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from mesoface.mesh import Mesh, unit

Array = NDArray[np.float64]

_BRANCHING = 4
_CHUNK = 1 << 14  # queries at a time: a few hundred MB of intermediate arrays at worst
_ON_EDGE = 1e-7  # barycentric coordinate below which a point counts as lying on the edge


@dataclass(frozen=True, eq=False)
class Closest:
    """Closest points of N queries.

    Args:
        points: (N, 3) on the surface.
        face: (N,) which face of the mesh.
        bary: (N, 3) barycentric coordinates in it.
        distance: (N,) mm, ≥ 0.
    """

    points: Array
    face: NDArray[np.int64]
    bary: Array
    distance: Array


class Surface:
    """A mesh made ready for closest-point queries.

    Faces stand under a four-ary tree of bounding cylinders, flat along the local normal: seen from a
    point off the surface they are much tighter than boxes.
    The face with the nearest centroid bounds each query's answer from above; then all queries of a chunk
    walk down the tree together, level by level, and leave out every cylinder farther away than that. The
    result is exact, whatever the mesh looks like.

    Args:
        mesh: at least one face of non-zero area; faces without area are passed over.

    Raises:
        ValueError: no face has an area.
    """

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        corners = mesh.face_corners()
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        faces = np.flatnonzero(cross.any(1))
        if not len(faces):
            raise ValueError("the mesh has no face with an area")
        self._seeds = cKDTree(corners[faces].mean(1), compact_nodes=False)
        # the k-d tree's own order, which splits at medians, is the order of ours
        self._faces, self._ranked = faces, faces[self._seeds.indices]
        # per level, root first: (n, 8) centre, axis, radius, half height; and where children begin
        self._levels, self._starts = _cylinders(corners[self._ranked], cross[self._ranked])
        self._open_edges: NDArray[np.bool_] | None = None
        self._open_vertices = np.zeros(0, bool)
        self._vertex_normals: Array | None = None

    def closest(self, points: ArrayLike) -> Closest:
        """The closest point of the surface to each of ``points`` (N, 3)."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        face = np.zeros(len(points), np.int64)
        if len(points):
            order = np.argsort(morton(points))  # neighbours walk the same branches
            for rows in np.array_split(order, math.ceil(len(points) / _CHUNK)):
                face[rows] = self._walk(points[rows])
        a, b, c = self.mesh.vertices[self.mesh.faces[face].T]
        bary, _ = closest_on_triangles(points, a, b, c)
        on_surface = a * bary[:, :1] + b * bary[:, 1:2] + c * bary[:, 2:]
        return Closest(on_surface, face, bary, np.linalg.norm(points - on_surface, axis=1))

    def _walk(self, points: Array) -> NDArray[np.int64]:
        """(N,) the closest face to each of ``points`` (N, 3)."""
        seed = self._faces[self._seeds.query(points)[1]]
        bound = self._squared(points, seed)
        limit = np.sqrt(bound) * (1 + 1e-9) + 1e-12
        query = np.arange(len(points))
        node = np.zeros(len(points), np.int64)
        for starts, level in zip(self._starts, self._levels, strict=True):
            # from here on `node` counts in this level: every kept node's children
            first, last = starts[node], starts[node + 1]
            query = np.repeat(query, last - first)
            node = np.arange(len(query)) + np.repeat(
                first - np.cumsum(last - first) + last - first, last - first
            )
            cylinder = level[node]
            offset = points[query] - cylinder[:, :3]
            height = np.einsum("nk,nk->n", offset, cylinder[:, 3:6])
            across = np.sqrt(np.maximum(np.einsum("nk,nk->n", offset, offset) - height * height, 0))
            above = np.maximum(np.abs(height) - cylinder[:, 7], 0)
            beside = np.maximum(across - cylinder[:, 6], 0)
            keep = above * above + beside * beside <= (limit * limit)[query]
            query, node = query[keep], node[keep]
        candidates = self._ranked[node]
        squared = self._squared(points[query], candidates)
        better = squared < bound[query]
        query, candidates, squared = query[better], candidates[better], squared[better]
        order = np.argsort(-squared, kind="stable")
        seed[query[order]] = candidates[order]  # the last assignment, the smallest distance, stays
        return seed

    def _squared(self, points: Array, faces: NDArray[np.int64]) -> Array:
        """(N,) squared distances of ``points`` (N, 3) to ``faces`` (N,)."""
        a, b, c = self.mesh.vertices[self.mesh.faces[faces].T]
        return closest_on_triangles(points, a, b, c)[1]

    def on_boundary(self, closest: Closest) -> NDArray[np.bool_]:
        """(N,) whether a closest point lies on an open edge: the query is beyond the rim of the mesh."""
        if self._open_edges is None:
            self._open_edges = open_edges(self.mesh)
            self._open_vertices = np.zeros(len(self.mesh.vertices), bool)
            for k in range(3):
                ends = self.mesh.faces[:, [(k + 1) % 3, (k + 2) % 3]][self._open_edges[:, k]]
                self._open_vertices[ends] = True
        small = closest.bary < _ON_EDGE
        on_edge = (small & self._open_edges[closest.face]).any(1)
        corner = np.take_along_axis(self.mesh.faces[closest.face], closest.bary.argmax(1)[:, None], 1)[:, 0]
        return on_edge | ((small.sum(1) == 2) & self._open_vertices[corner])

    def normals(self, closest: Closest) -> Array:
        """(N, 3) unit vertex normals interpolated at closest points."""
        return self.normals_at(closest.face, closest.bary)

    def normals_at(self, face: NDArray[np.int64], bary: Array) -> Array:
        """(N, 3) unit vertex normals interpolated at ``bary`` (N, 3) of ``face`` (N,)."""
        if self._vertex_normals is None:
            self._vertex_normals = self.mesh.vertex_normals()
        corners = self._vertex_normals[self.mesh.faces[face]]
        return unit(np.einsum("nk,nkc->nc", bary, corners))


def morton(points: Array) -> NDArray[np.int64]:
    """(N,) position of ``points`` (N, 3) along a Z-order curve through their bounding box."""
    low = points.min(0)
    extent = float((points.max(0) - low).max()) or 1.0  # a single place
    cell = ((points - low) * (((1 << 21) - 1) / extent)).astype(np.int64)
    # spread the 21 bits of each coordinate three apart, by doubling the gaps
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cell = (cell | (cell << shift)) & mask
    return cell[:, 0] | (cell[:, 1] << 1) | (cell[:, 2] << 2)


def _cylinders(corners: Array, cross: Array) -> tuple[list[Array], list[NDArray[np.int64]]]:
    """Bounding cylinders of runs of faces: halved twice a level, down to single faces.

    Args:
        corners: (F, 3, 3) of the faces, in an order that keeps neighbours together.
        cross: (F, 3) normals of twice the faces' area.

    Returns:
        per level an (n, 8) array (centre, axis, radius, half height), and where the children of each node
        of the level above begin in it, with the end after the last: (m + 1,).
    """
    n = len(corners)
    cuts = [np.array([0, n])]
    while np.diff(cuts[-1]).min() >= 4 * _BRANCHING:
        halves = np.union1d(cuts[-1], cuts[-1][:-1] + np.diff(cuts[-1]) // 2)
        cuts.append(np.union1d(halves, halves[:-1] + np.diff(halves) // 2))
    cuts.append(np.arange(n + 1))
    levels: list[Array] = []
    for depth in range(len(cuts) - 1, 0, -1):
        starts = cuts[depth][:-1]
        axis = unit(np.add.reduceat(cross, starts))
        if len(levels) < 3:
            points, first = corners.reshape(-1, 3), 3 * starts  # the corners themselves
        else:
            points, first = levels[1][:, :3], np.searchsorted(cuts[-2], starts)  # the small cylinders
        counts = np.diff(first, append=len(points))
        center = np.add.reduceat(points, first) / counts[:, None]
        offset, along = points - np.repeat(center, counts, 0), np.repeat(axis, counts, 0)
        height = np.einsum("nk,nk->n", offset, along)
        across = np.sqrt(np.maximum(np.einsum("nk,nk->n", offset, offset) - height * height, 0))
        height = np.abs(height)
        if len(levels) >= 3:
            # a tilted cylinder reaches out by its rim, and sideways by its height too
            cos = np.abs(np.einsum("nk,nk->n", levels[1][:, 3:6], along))
            sin = np.sqrt(np.maximum(1 - cos * cos, 0))
            height += levels[1][:, 6] * sin + levels[1][:, 7] * cos
            across += levels[1][:, 6] + levels[1][:, 7] * sin
        radius = np.maximum.reduceat(across, first) + 1e-12
        half = np.maximum.reduceat(height, first) + 1e-12
        levels.append(np.column_stack([center, axis, radius, half]))
    children = [np.searchsorted(below, above) for above, below in itertools.pairwise(cuts)]
    return levels[::-1], children


def closest_on_triangles(p: Array, a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Closest point of a triangle to a point, pairwise.

    The foot on the plane where it lies inside, else the best of the three edges: unlike a decision by
    Voronoi regions this stays right for slivers.

    Args:
        p: (N, 3) points.
        a: (N, 3) first corners.
        b: (N, 3) second corners.
        c: (N, 3) third corners.

    Returns:
        (N, 3) barycentric coordinates and (N,) squared distances.
    """
    ab, ac, ap = b - a, c - a, p - a

    def dot(x: Array, y: Array) -> Array:
        return np.einsum("nk,nk->n", x, y)

    bb, bc, cc, db, dc, pp = dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac), dot(ap, ap)
    edge = np.maximum(bb - 2 * bc + cc, 0)  # |c - b|²
    along = dc - db - bc + bb  # (p - b)·(c - b)
    tiny = np.finfo(float).tiny
    t_ab, t_ac = np.clip(db / np.maximum(bb, tiny), 0, 1), np.clip(dc / np.maximum(cc, tiny), 0, 1)
    t_bc = np.clip(along / np.maximum(edge, tiny), 0, 1)
    # candidate (v, w): weights of b and c
    v = np.stack([t_ab, np.zeros_like(t_ac), 1 - t_bc])
    w = np.stack([np.zeros_like(t_ab), t_ac, t_bc])
    squared = pp - 2 * (v * db + w * dc) + v * v * bb + 2 * v * w * bc + w * w * cc
    pick = squared.argmin(0)[None]
    v, w = np.take_along_axis(v, pick, 0)[0], np.take_along_axis(w, pick, 0)[0]
    out = np.take_along_axis(squared, pick, 0)[0]
    det = bb * cc - bc * bc
    solid = det > 1e-14 * bb * cc
    safe = np.where(solid, det, 1)
    v_in, w_in = (cc * db - bc * dc) / safe, (bb * dc - bc * db) / safe
    inside = solid & (v_in >= 0) & (w_in >= 0) & (v_in + w_in <= 1)
    v, w = np.where(inside, v_in, v), np.where(inside, w_in, w)
    out = np.where(inside, pp - v * db - w * dc, out)
    return np.column_stack([1 - v - w, v, w]), np.maximum(out, 0)


def open_edges(mesh: Mesh) -> NDArray[np.bool_]:
    """(F, 3) whether the edge opposite to each corner belongs to this face alone.

    Vertices at the same position count as one, so a UV seam or a triangle soup is not a rim.
    """
    faces, n = mesh.faces, len(mesh.vertices)
    open_ = _used_once(faces, n)
    rim = np.unique(
        np.concatenate(
            [faces[:, [1, 2]][open_[:, 0]], faces[:, [2, 0]][open_[:, 1]], faces[:, [0, 1]][open_[:, 2]]]
        )
    )
    if len(rim):
        # only vertices on open edges can be seams, and they are few
        _, same = np.unique(mesh.vertices[rim], axis=0, return_inverse=True)
        if same.max() + 1 < len(rim):
            welded = np.arange(n)
            welded[rim] = rim[np.unique(same, return_index=True)[1][same.ravel()]]
            open_ = _used_once(welded[faces], n)
    return open_


def _used_once(faces: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    ends = np.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], 1).reshape(-1, 2)
    keys = ends.min(1) * n + ends.max(1)
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    differs = np.ones(len(ranked) + 1, bool)
    differs[1:-1] = ranked[1:] != ranked[:-1]
    once = np.empty(len(ranked), bool)
    once[order] = differs[1:] & differs[:-1]
    return once.reshape(-1, 3)
