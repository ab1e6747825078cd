"""Triangles between the anchors: mediapipe's mesh, and strips between the rings around it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import trimesh
from mediapipe.python.solutions import face_mesh_connections as connections
from numpy.typing import NDArray

RINGS = 2  # of 36 points each, around mediapipe's oval


def walk(edges: frozenset[tuple[int, int]]) -> list[int]:
    """Vertices of a closed ring of edges, in order, starting with the smallest number."""
    neighbours: dict[int, list[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    ring = [min(neighbours)]
    ring.append(min(neighbours[ring[0]]))
    while True:
        following = next(n for n in neighbours[ring[-1]] if n != ring[-2])
        if following == ring[0]:
            return ring
        ring.append(following)


def face_oval() -> list[int]:
    """The 36 points around the face, from the forehead's middle (10) towards the subject's left (338)."""
    ring = walk(connections.FACEMESH_FACE_OVAL)
    ring = ring[ring.index(10) :] + ring[: ring.index(10)]
    return ring if ring[1] == 338 else [ring[0], *ring[:0:-1]]


def face_triangles() -> tuple[NDArray[np.int64], list[list[int]]]:
    """(852, 3) triangles of mediapipe's face mesh, without orientation, and its holes: two eyes, the mouth.

    mediapipe publishes the mesh as edges: its triangles are the edges' 3-cycles that enclose nothing.
    """
    edges = {(min(e), max(e)) for e in connections.FACEMESH_TESSELATION}
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cycles = {tuple(sorted((a, b, c))) for a, b in edges for c in neighbours[a] & neighbours[b]}
    used = dict.fromkeys(edges, 0)
    for cycle in cycles:
        for pair in combinations(cycle, 2):
            used[pair] += 1
    # a cycle around a vertex of valence 3 shares all its edges with two triangles besides
    cycles = {c for c in cycles if not all(used[p] == 3 for p in combinations(c, 2))}
    used = dict.fromkeys(edges, 0)
    for cycle in cycles:
        for pair in combinations(cycle, 2):
            used[pair] += 1
    rim = {pair for pair, count in used.items() if count == 1}
    oval = set(face_oval())
    holes = []
    rim = {pair for pair in rim if not set(pair) <= oval}
    while rim:
        seed = next(iter(sorted(rim)))
        ring, grown = set(), {seed}
        while grown:
            ring |= grown
            points = {p for pair in ring for p in pair}
            grown = {pair for pair in rim - ring if points & set(pair)}
        rim -= ring
        holes.append(walk(frozenset(ring)))
    return np.array(sorted(cycles), np.int64), holes


def ring_triangles(first: list[int], rings: int, start: int) -> NDArray[np.int64]:
    """Strips between ``first`` (the oval) and ``rings`` rings of as many points numbered from ``start``."""
    count, previous, triangles = len(first), list(first), []
    for ring in range(rings):
        following = list(range(start + ring * count, start + (ring + 1) * count))
        for k in range(count):
            n = (k + 1) % count
            # the diagonal leans the same way left and right of the middle of the face
            a, b, c, d = previous[k], previous[n], following[n], following[k]
            triangles += [(a, b, c), (a, c, d)] if k < count // 2 else [(a, b, d), (b, c, d)]
        previous = following
    return np.array(triangles, np.int64)


def anchor_triangles(anchors: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[list[int]]]:
    """All triangles between the anchors, counter-clockwise from outside, and the holes' rings (eyes, mouth).

    Args:
        anchors: (A, 3) on a face with its mouth open, to tell outside by.
    """
    face, holes = face_triangles()
    triangles = np.concatenate([face, ring_triangles(face_oval(), RINGS, len(anchors) - RINGS * 36)])
    return propagate_orientation(triangles, outside=anchors), holes


def propagate_orientation(triangles: NDArray[np.int64], outside: NDArray[np.float64]) -> NDArray[np.int64]:
    """Wind all triangles alike, and so that most of them look away from the centre of ``outside`` (A, 3)."""
    mesh = trimesh.Trimesh(outside, triangles, process=False)
    trimesh.repair.fix_winding(mesh)
    wound = np.asarray(mesh.faces, np.int64)
    a, b, c = outside[wound.T]
    forwards = np.cross(b - a, c - a)[:, 2].sum()
    return wound if forwards > 0 else wound[:, ::-1].copy()
