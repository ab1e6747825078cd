"""A plain back of the head for face models that have only the face."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_RINGS = 24


def close_behind(
    values: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Grow a rounded back from the outer rim of a face, if the surface is open behind.

    Each rim vertex is joined to a point behind the head by a cubic Hermite curve that leaves the rim
    along the surface: a smooth closed egg, nothing of anyone's skull.

    Args:
        values: (N, 3·k) k shapes of one topology, side by side; +y up, +z front, mm.
        faces: (F, 3).

    Returns:
        (N', 3·k) vertices, the old ones first; (F', 3) faces, the old ones first; and F.
    """
    rim = longest_rim(faces)
    if len(rim) < 3 or np.ptp(values[rim, 1]) < 0.5 * np.ptp(values[:, 1]):
        return values, faces, len(faces)  # no rim, or it runs round a neck: there is a head already
    shapes = [_back(values[:, k : k + 3], faces, rim) for k in range(0, values.shape[1], 3)]
    grown = np.concatenate([values, np.column_stack(shapes)])
    return grown, np.concatenate([faces, _rings(rim, len(values))]), len(faces)


def longest_rim(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K,) vertices of the longest closed boundary, in the order in which the faces beside it run."""
    sides = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    count = int(faces.max(initial=-1)) + 1
    lone = sides[~np.isin(sides[:, 0] * count + sides[:, 1], sides[:, 1] * count + sides[:, 0])]
    following = dict(lone.tolist())
    best: list[int] = []
    while following:
        start, vertex = following.popitem()
        loop = [start]
        while vertex != start and vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        if vertex == start and len(loop) > len(best):
            best = loop
    return np.array(best, np.int64)


def _back(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], rim: NDArray[np.int64]
) -> NDArray[np.float64]:
    """((RINGS - 1)·K + 1, 3) vertices behind the rim, ring by ring, the pole last."""
    start = vertices[rim]
    # The surface's own direction at the rim, smoothed along it: away from what lies inside.
    inner = _neighbour_mean(vertices, faces)[rim]
    leave = start - inner
    for _ in range(20):
        leave = (np.roll(leave, 1, 0) + 2 * leave + np.roll(leave, -1, 0)) / 4
    leave /= np.linalg.norm(leave, axis=1, keepdims=True)
    height = np.ptp(start[:, 1])
    middle = start.mean(0)
    pole = np.array([middle[0], middle[1] + 0.1 * height, start[:, 2].mean() - 0.62 * height])
    towards = start - pole
    towards[:, 2] = 0
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    reach = 1.2 * np.linalg.norm(start - pole, axis=1, keepdims=True)
    rings = []
    for step in range(1, _RINGS):
        t = step / _RINGS
        h00, h10 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t
        h01, h11 = 3 * t**2 - 2 * t**3, t**3 - t**2
        rings.append(h00 * start + h10 * reach * leave + h01 * pole - h11 * reach * towards)
    return np.concatenate([*rings, pole[None]])


def _neighbour_mean(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 3) mean of the centres of the faces at each vertex."""
    centres = vertices[faces].mean(1)
    count = np.maximum(np.bincount(faces.ravel(), minlength=len(vertices)), 1)
    total = [np.bincount(faces.ravel(), np.repeat(centres[:, k], 3), len(vertices)) for k in range(3)]
    return np.stack(total, 1) / count[:, None]


def _rings(rim: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Faces between the rim, the rings behind it (numbered from ``first``) and the pole."""
    k = len(rim)
    levels = [rim, *(first + i * k + np.arange(k) for i in range(_RINGS - 1))]
    faces = []
    for near, far in pairwise(levels):
        near_next, far_next = np.roll(near, -1), np.roll(far, -1)
        # The rim runs as its faces do, so the new faces run against it.
        faces += [np.stack([near_next, near, far], 1), np.stack([near_next, far, far_next], 1)]
    last = levels[-1]
    pole = np.full(k, first + (_RINGS - 1) * k)
    faces.append(np.stack([np.roll(last, -1), last, pole], 1))
    return np.concatenate(faces)
