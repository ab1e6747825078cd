"""A plain back of the head for face models that have only the face."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis import anatomy

_RINGS = 24


def close_behind(
    values: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Grow a rounded back from the outer rim of a face, if the surface is open behind.

    What grows is half an ellipsoid that is bent to meet the rim: no one's skull.

    Args:
        values: (N, 3·k) k shapes of one topology, side by side; +y up, +z front, mm.
        faces: (F, 3).

    Returns:
        (N', 3·k) vertices, the old ones first; (F', 3) faces, the old ones first; and F.
    """
    rim = longest_rim(faces)
    if len(rim) < 3 or np.ptp(values[rim, 1]) < 0.5 * np.ptp(values[:, 1]):
        return values, faces, len(faces)  # no rim, or it runs round a neck: there is a head already
    shapes = [_back(values[:, k : k + 3], rim) for k in range(0, values.shape[1], 3)]
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


def _back(vertices: NDArray[np.float64], rim: NDArray[np.int64]) -> NDArray[np.float64]:
    """((RINGS - 1)·K + 1, 3) vertices behind the rim, ring by ring, the pole last."""
    start = vertices[rim]
    height, width = np.ptp(start[:, 1]), np.ptp(start[:, 0])
    middle = (start.max(0) + start.min(0)) / 2
    center = np.array([middle[0], middle[1], start[:, 2].mean() - 0.12 * height])
    offset = start - center
    around = np.arctan2(offset[:, 1] / height, offset[:, 0] / width)
    depth = 0.55 * height
    side = 0.56 * width * np.cos(around)
    up = np.where(around > 0, 0.62, 0.45) * height * np.sin(around)  # the nape is narrower than the crown
    begin = -np.arcsin(np.clip(offset[:, 2] / depth, -0.9, 0.9))

    def ellipsoid(t: float) -> NDArray[np.float64]:
        polar = begin + t * (np.pi / 2 - begin)
        return center + np.stack([side * np.cos(polar), up * np.cos(polar), -depth * np.sin(polar)], 1)

    miss = start - ellipsoid(0.0)
    steps = np.arange(1, _RINGS) / _RINGS
    rings = [ellipsoid(t) + (1 - t) ** 3 * miss for t in steps]
    return np.concatenate([*rings, ellipsoid(1.0)[:1]])


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


def make_neck(landmarks: NDArray[np.float64]) -> Mesh:
    """A plain neck that widens to shoulders, to stand below a face that has none.

    Args:
        landmarks: (478, 3) on the head.
    """
    chin = landmarks[anatomy.CHIN, 1]
    sides = landmarks[list(anatomy.JAW_SIDES)]
    middle, half = sides.mean(0), np.ptp(sides[:, 0]) / 2
    y = np.linspace(45, -170, 40)
    flare = np.clip(-(y + 70) / 100, 0, 1) ** 2
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    x = np.outer(0.70 * half + 90 * flare, np.cos(angle))
    z = middle[2] - 32 + np.outer(0.66 * half + 15 * flare, np.sin(angle))
    vertices = np.stack([middle[0] + x, np.broadcast_to((chin + y)[:, None], x.shape), z], -1).reshape(-1, 3)
    grid = np.arange(len(vertices)).reshape(x.shape)
    a, b = grid[:-1].ravel(), np.roll(grid, -1, 1)[:-1].ravel()
    c, d = grid[1:].ravel(), np.roll(grid, -1, 1)[1:].ravel()
    return Mesh(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]))
