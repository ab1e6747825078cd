"""Finer triangles: smooth (Loop) subdivision, and splitting of long edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mesoface.geometry.mesh import Mesh, unit

# Share of the way to the tangent planes that puts the middle of a chord on its circle (3/4 in the paper).
_PHONG = 0.5


def _edges(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(E, 2) unique edges, and (F, 3) which of them face side k (corner k to k + 1) is."""
    sides = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1), -1).reshape(-1, 2)
    count = int(faces.max(initial=-1)) + 1
    keys, inverse = np.unique(sides[:, 0] * count + sides[:, 1], return_inverse=True)
    return np.stack([keys // count, keys % count], 1), inverse.reshape(-1, 3)


def subdivide_loop(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """One step of Loop subdivision (Loop 1987, with Warren's vertex weights; cubic B-spline boundaries).

    Args:
        vertices: (N, C) positions and other columns to interpolate along, C ≥ 1.
        faces: (F, 3).

    Returns:
        (N + E, C) vertices, the old ones first, and (4F, 3) faces: child k·F + f lies in face f.
    """
    edges, sides = _edges(faces)
    used = np.bincount(sides.ravel(), minlength=len(edges))
    # The corner opposite to side k is k + 2; its sum over the faces at an edge has one or two terms.
    opposite = np.empty((len(edges), vertices.shape[1]))
    for c in range(vertices.shape[1]):
        opposite[:, c] = np.bincount(sides.ravel(), vertices[np.roll(faces, -2, 1).ravel(), c], len(edges))
    ends = vertices[edges[:, 0]] + vertices[edges[:, 1]]
    inner = used == 2
    middle = np.where(inner[:, None], 0.375 * ends + 0.125 * opposite, 0.5 * ends)

    rim = edges[~inner]
    on_rim = np.zeros(len(vertices), bool)
    on_rim[rim.ravel()] = True
    around, valence = _neighbour_sums(vertices, edges)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))[:, None]
    moved = (1 - valence[:, None] * beta) * vertices + beta * around
    rim_around, rim_valence = _neighbour_sums(vertices, rim)
    smooth_rim = rim_valence == 2  # a corner where several rims meet stays where it is
    moved[on_rim] = vertices[on_rim]
    moved[smooth_rim] = 0.75 * vertices[smooth_rim] + 0.125 * rim_around[smooth_rim]
    return np.concatenate([moved, middle]), _quarter(faces, sides + len(vertices))


def _neighbour_sums(
    vertices: NDArray[np.float64], edges: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(N, C) sum over the vertices that ``edges`` join each vertex to, and (N,) how many those are."""
    ends, others = edges.ravel(), edges[:, ::-1].ravel()
    n = len(vertices)
    total = np.empty_like(vertices)
    for c in range(vertices.shape[1]):
        total[:, c] = np.bincount(ends, vertices[others, c], n)
    return total, np.bincount(ends, minlength=n)


def _quarter(faces: NDArray[np.int64], middle: NDArray[np.int64]) -> NDArray[np.int64]:
    a, b, c = faces.T
    ab, bc, ca = middle.T
    children = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([np.stack(child, 1) for child in children])


def split_long_edges(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], wanted: NDArray[np.bool_], length: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """Split edges at their middle until none of a wanted face is longer than ``length``.

    Neighbouring faces are split too, so that no crack opens. New vertices move towards the tangent planes at
    the edge's ends (Phong tessellation, Boubekeur & Alexa 2008), so that facets do not stay visible.

    Args:
        vertices: (N, C), C ≥ 3: the positions first, and other columns to interpolate along.
        faces: (F, 3).
        wanted: (F,) faces whose edges matter.
        length: mm.

    Returns:
        (N', C) vertices, the old ones first; (F', 3) faces; (F',) the face each lies in; and, round by round,
        (K, 2) the ends of the edge that each new vertex halves.
    """
    parent = np.arange(len(faces))
    rounds: list[NDArray[np.int64]] = []
    normals = Mesh(vertices[:, :3], faces).vertex_normals()
    while True:
        edges, sides = _edges(faces)
        a, b = vertices[edges[:, 0]], vertices[edges[:, 1]]
        matters = np.zeros(len(edges), bool)
        matters[sides[wanted[parent]].ravel()] = True
        split = matters & (np.linalg.norm((a - b)[:, :3], axis=1) > length)
        if not split.any():
            return vertices, faces, parent, rounds
        rounds.append(edges[split])
        number = np.cumsum(split) - 1 + len(vertices)
        middle = np.where(split[sides], number[sides], -1)
        added = (a[split] + b[split]) / 2
        n, m = normals[edges[split]].swapaxes(0, 1)
        half = (b[split] - a[split])[:, :3] / 2
        along_n, along_m = (half * n).sum(1, keepdims=True), (half * m).sum(1, keepdims=True)
        added[:, :3] -= _PHONG / 2 * (along_n * n - along_m * m)
        vertices = np.concatenate([vertices, added])
        normals = np.concatenate([normals, unit(n + m)])
        faces, origin = _split_faces(vertices, faces, middle)
        parent = parent[origin]


def grow_faces(faces: NDArray[np.int64], chosen: NDArray[np.bool_], *, rings: int) -> NDArray[np.bool_]:
    """(F,) the chosen faces and those around them, so that skin does not become coarse at the rim."""
    for _ in range(rings):
        touched = np.zeros(int(faces.max()) + 1, bool)
        touched[faces[chosen].ravel()] = True
        chosen = touched[faces].any(1)
    return chosen


def split_mesh(mesh: Mesh, wanted: NDArray[np.bool_], length: float) -> tuple[Mesh, NDArray[np.int64]]:
    """:func:`split_long_edges` of a mesh with its UVs, which stay where they are on every face.

    Args:
        mesh: with UVs; its normals and colours are dropped.
        wanted: (F,) faces whose edges matter.
        length: mm.

    Returns:
        the finer mesh, and (F',) the face of ``mesh`` each of its faces lies in.
    """
    assert mesh.uv is not None
    vertices, faces, parent, rounds = split_long_edges(mesh.vertices, mesh.faces, wanted, length)
    if mesh.uv_faces is None or np.array_equal(mesh.uv_faces, mesh.faces):
        uv = mesh.uv
        for ends in rounds:
            uv = np.concatenate([uv, uv[ends].mean(1)])
        return Mesh(vertices, faces, uv), parent
    weights = sparse.eye_array(len(mesh.vertices), format="csr")
    for ends in rounds:
        weights = sparse.vstack([weights, (weights[ends[:, 0]] + weights[ends[:, 1]]) / 2], format="csr")
    corners = np.broadcast_to(mesh.faces[parent][:, None], (len(faces), 3, 3))
    bary = np.asarray(weights[np.repeat(faces.ravel(), 3), corners.ravel()]).reshape(-1, 3, 3)
    uv = np.einsum("fkj,fjc->fkc", bary, mesh.uv[mesh.uv_faces[parent]]).reshape(-1, 2)
    # Corners of one vertex share a UV unless a seam runs there; sums in another order differ in the last bit.
    keys = np.column_stack([faces.ravel(), np.rint(uv * 2**32).astype(np.int64)])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return Mesh(vertices, faces, uv[first], index.reshape(-1, 3)), parent


def _split_faces(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], middle: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces cut at the (F, 3) ``middle`` vertices of their sides (-1: not cut), and where each came from."""
    count = (middle >= 0).sum(1)
    index = np.arange(len(faces))
    out, origin = [faces[count == 0]], [index[count == 0]]

    one = index[count == 1]
    side = (middle[one] >= 0).argmax(1)
    (a, b, c), (m, _, _) = _turned(faces[one], side), _turned(middle[one], side)
    out += [np.stack([a, m, c], 1), np.stack([m, b, c], 1)]
    origin += [one, one]

    two = index[count == 2]
    side = ((middle[two] < 0).argmax(1) + 1) % 3  # now sides 0 and 1 are cut, side 2 (c to a) is not
    (a, b, c), (m, n, _) = _turned(faces[two], side), _turned(middle[two], side)
    out.append(np.stack([m, b, n], 1))
    origin += [two, two, two]
    diagonal = np.linalg.norm(vertices[a, :3] - vertices[n, :3], axis=1)
    other = np.linalg.norm(vertices[m, :3] - vertices[c, :3], axis=1)
    short = (diagonal <= other)[:, None]  # the shorter diagonal of the quad a m n c
    out.append(np.where(short, np.stack([a, m, n], 1), np.stack([a, m, c], 1)))
    out.append(np.where(short, np.stack([a, n, c], 1), np.stack([m, n, c], 1)))

    three = index[count == 3]
    out.append(_quarter(faces[three], middle[three]))
    origin.append(np.tile(three, 4))
    return np.concatenate(out), np.concatenate(origin)


def _turned(rows: NDArray[np.int64], start: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """The three columns of (K, 3) ``rows``, each row beginning at ``start``."""
    order = (start[:, None] + np.arange(3)) % 3
    return tuple(np.take_along_axis(rows, order, 1).T)
