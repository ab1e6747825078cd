"""Inner loops of closest-point queries, compiled: a point and a triangle, and a walk down a tree."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# No fastmath: which of two neighbouring faces is nearer hangs on the last bits.
_compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
_inlined: Any = numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
_TINY = np.finfo(np.float64).tiny
# Nodes that wait to be looked at: three for each of the tree's levels, and the last one's few dozen.
_STACK = 256


@_inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_inlined
def _minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@_inlined
def _share(part, whole):
    """``part / whole`` in [0, 1]; 0 where both are 0."""
    return min(max(part / max(whole, _TINY), 0.0), 1.0)


@_compiled
def _point_triangle(p, a, b, c):
    """Weights of b and c in the triangle's closest point to p, and the squared distance.

    The foot on the plane where it lies inside, else the best of the three edges: unlike a decision by
    Voronoi regions this stays right for slivers.
    """
    ab, ac, ap = _minus(b, a), _minus(c, a), _minus(p, a)
    bb, bc, cc = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    db, dc, pp = _dot(ap, ab), _dot(ap, ac), _dot(ap, ap)
    det = bb * cc - bc * bc
    if det > 1e-14 * bb * cc:
        v, w = (cc * db - bc * dc) / det, (bb * dc - bc * db) / det
        if v >= 0 and w >= 0 and v + w <= 1:
            return v, w, max(pp - v * db - w * dc, 0.0)
    t = _share(dc - db - bc + bb, max(bb - 2 * bc + cc, 0.0))  # along the edge from b to c
    best_v, best_w, best = 0.0, 0.0, np.inf
    for v, w in ((_share(db, bb), 0.0), (0.0, _share(dc, cc)), (1 - t, t)):
        squared = pp - 2 * (v * db + w * dc) + v * v * bb + 2 * v * w * bc + w * w * cc
        if squared < best:
            best_v, best_w, best = v, w, squared
    return best_v, best_w, max(best, 0.0)


@_compiled
def closest_pairwise(p, a, b, c, bary, squared):
    """Closest points of N triangles to N points, all (N, 3): into ``bary`` (N, 3) and ``squared`` (N,)."""
    for i in range(len(p)):
        v, w, squared[i] = _point_triangle(p[i], a[i], b[i], c[i])
        bary[i, 0], bary[i, 1], bary[i, 2] = 1 - v - w, v, w


@_inlined
def _squared_to_cylinder(p, cylinder):
    """Squared distance of p to a solid cylinder (centre, axis, radius, half height)."""
    x, y, z = p[0] - cylinder[0], p[1] - cylinder[1], p[2] - cylinder[2]
    height = x * cylinder[3] + y * cylinder[4] + z * cylinder[5]
    across = np.sqrt(max(x * x + y * y + z * z - height * height, 0.0))
    above, beside = max(abs(height) - cylinder[7], 0.0), max(across - cylinder[6], 0.0)
    return above * above + beside * beside


@_compiled
def nearest_faces(points, face, vertices, faces, cylinders, children, ranked):
    """Replace ``face`` (N,), any faces, by those nearest to ``points`` (N, 3).

    Args:
        points: (N, 3).
        face: (N,) guesses: the nearer they are, the less of the tree is looked at.
        vertices: (V, 3) of the mesh.
        faces: (F, 3) of the mesh.
        cylinders: (M, 8) nodes of the tree: centre, axis, radius, half height; the first one is the root.
        children: (M, 2) first and last + 1 of each node's children; (i, i) where the node is the face
            ``ranked[i]`` itself.
        ranked: (L,) faces in the order of the tree's leaves.
    """
    stack = np.empty(_STACK, np.int64)
    for i in range(len(points)):
        p, best = points[i], face[i]
        corner = faces[best]
        _, _, bound = _point_triangle(p, vertices[corner[0]], vertices[corner[1]], vertices[corner[2]])
        reach = (np.sqrt(bound) * (1 + 1e-9) + 1e-12) ** 2
        stack[0], waiting = 0, 1
        while waiting:
            waiting -= 1
            node = stack[waiting]
            if _squared_to_cylinder(p, cylinders[node]) > reach:
                continue
            first, last = children[node]
            if first < last:
                for child in range(first, last):
                    stack[waiting] = child
                    waiting += 1
                continue
            corner = faces[ranked[first]]
            _, _, squared = _point_triangle(p, vertices[corner[0]], vertices[corner[1]], vertices[corner[2]])
            if squared < bound:
                best, bound = ranked[first], squared
                reach = (np.sqrt(bound) * (1 + 1e-9) + 1e-12) ** 2
        face[i] = best
