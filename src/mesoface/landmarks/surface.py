"""Which way the skin faces at each landmark: the normals of the landmarks' own mesh."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from mesoface.geometry.mesh import Mesh, unit

# Top of the forehead, below it, and beside it on the subject's left: counter-clockwise seen from outside.
_SEED = (10, 151, 338)
_IRIS_OF_EYE = {(33, 133): range(468, 473), (362, 263): range(473, 478)}


@cache
def mediapipe_faces() -> NDArray[np.int64]:
    """(852, 3) triangles over the first 468 points of MediaPipe's face mesh, counter-clockwise from outside.

    MediaPipe publishes the mesh as a set of edges; its triangles are the 3-cliques of that graph.
    """
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbours: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cliques = {
        (a, b, c)
        for a in neighbours
        for b in neighbours[a]
        if a < b
        for c in neighbours[a] & neighbours[b]
        if b < c
    }
    around: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for clique in cliques:
        for edge in combinations(clique, 2):
            around.setdefault(edge, []).append(clique)
    # A clique that is closed on all three sides by two others is the rim of a hole (a nostril), not a face.
    rims = {clique for clique in cliques if all(len(around[edge]) > 2 for edge in combinations(clique, 2))}
    wound, front = {tuple(sorted(_SEED)): _SEED}, [_SEED]
    while front:
        a, b, c = front.pop()
        for u, v in ((a, b), (b, c), (c, a)):
            for clique in around[min(u, v), max(u, v)]:
                if clique not in wound and clique not in rims:
                    w = sum(clique) - u - v
                    wound[clique] = (v, u, w)  # the neighbour runs along the shared edge the other way
                    front.append((v, u, w))
    return np.array([wound[key] for key in sorted(wound)], np.int64)


def landmark_faces(
    points: NDArray[np.float64], scheme: str, towards: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Triangles between the landmarks, counter-clockwise from outside.

    Args:
        points: (L, 3); NaN where unknown.
        scheme: ``"mediapipe478"`` brings its own mesh; any other is meshed as a height field over the plane
            across ``towards`` (Delaunay).
        towards: (3,) direction from the face to the viewers; read only for the latter.

    Returns:
        (F, 3), only between known points.
    """
    known = np.isfinite(points).all(1)
    if scheme == "mediapipe478":
        faces = mediapipe_faces()
        return faces[known[faces].all(1)]
    ids = np.flatnonzero(known)
    if len(ids) < 4:
        return np.zeros((0, 3), np.int64)
    outwards = unit(towards)
    side = np.cross(outwards, np.eye(3)[np.argmin(np.abs(outwards))])
    plane = np.stack([unit(side), np.cross(outwards, unit(side))])
    faces = Delaunay(points[ids] @ plane.T).simplices
    a, b, c = points[ids][faces.T]
    away = np.cross(b - a, c - a) @ outwards < 0  # scipy does not promise a winding
    faces[away] = faces[away][:, ::-1]
    return ids[faces]


def landmark_normals(
    points: NDArray[np.float64], scheme: str, towards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(L, 3) outward unit normals of the skin, zero where unknown; arguments as :func:`landmark_faces`."""
    faces = landmark_faces(points, scheme, towards)
    normals = Mesh(np.nan_to_num(points), faces).vertex_normals()
    if scheme == "mediapipe478":  # the eyeballs are holes in the mesh
        for corners, iris in _IRIS_OF_EYE.items():
            normals[iris] = unit(normals[list(corners)].sum(0))
    return normals


def facing_weight(cosine: NDArray[np.float64], dark: float, full: float) -> NDArray[np.float64]:
    """Smooth step from 0 at ``dark`` to 1 at ``full`` of the cosine between normal and view."""
    x = np.clip((cosine - dark) / (full - dark), 0, 1)
    return x * x * (3 - 2 * x)
