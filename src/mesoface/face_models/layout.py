"""UV layouts: regions drawn as polygons, and a layout with a facial mask for models that have none."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster

FOREHEAD = 0.75
"""Height of the mask above the brows, in heights of the nose (bridge to base)."""
BELOW_JAW_MM = 4.0
OPENINGS = (range(36, 42), range(42, 48), range(60, 68))
"""Rings of iBUG landmarks around the eyes and the inside of the mouth."""


def inside(points: NDArray[np.float64], polygon: ArrayLike) -> NDArray[np.bool_]:
    """(N,) whether (N, 2) points lie in a simple polygon (K, 2), by the even–odd rule."""
    corners = np.asarray(polygon, np.float64)
    x, y = points[:, 0], points[:, 1]
    odd = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        spans = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def mirrored(polygon: ArrayLike) -> NDArray[np.float64]:
    """The polygon (K, 2) reflected at u = 0.5."""
    return np.asarray(polygon, np.float64)[::-1] * (-1, 1) + (1, 0)


def superellipse(
    center: tuple[float, float], radii: tuple[float, float], power: float = 2.0
) -> NDArray[np.float64]:
    """(64, 2) polygon of ``|x/a|^p + |y/b|^p = 1``."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    unit = np.column_stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)])
    return np.asarray(center) + unit * np.asarray(radii)


def unwrap_face(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], landmarks: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cylindrical UVs that fill the square with the face, and the facial mask.

    Everything follows from the mean shape and its 68 landmarks. The layout is one-to-one on the facial mask,
    because a triangle is left out where it is turned away from the cylinder or hidden behind another one.

    Args:
        vertices: (N, 3) mean shape, mm; x to the subject's left, y up, z forward.
        faces: (F, 3).
        landmarks: (68, 3) iBUG landmarks on it.

    Returns:
        (N, 2) UV of each vertex (outside of [0, 1] off the face) and (F,) which triangles are facial.
    """
    axis = np.array([landmarks[[0, 16], 0].mean(), landmarks[[0, 16], 2].mean()])
    plane, marks = _unroll(vertices, axis), _unroll(landmarks, axis)
    jaw, brows = marks[:17], marks[17:27]
    top = brows[:, 1].max() + FOREHEAD * (marks[27, 1] - marks[33, 1])
    low, high = np.array([jaw[0, 0], jaw[:, 1].min() - BELOW_JAW_MM]), np.array([jaw[16, 0], top])
    uv = (plane - low) / (high - low)

    # Jaw line with its margin, up at the ears, and a rounded forehead.
    width, height = (jaw[16, 0] - jaw[0, 0]) / 2, top - max(jaw[0, 1], jaw[16, 1])
    crown = superellipse(((jaw[0, 0] + jaw[16, 0]) / 2, top - height), (width, height), 4)[1:32]
    outline = np.vstack([jaw - (0, BELOW_JAW_MM), crown])
    middle = plane[faces].mean(1)
    facial = inside(middle, outline)
    for ring in OPENINGS:
        corners = marks[list(ring)]
        facial &= ~inside(middle, corners.mean(0) + 1.15 * (corners - corners.mean(0)))
    a, b, c = uv[faces].transpose(1, 0, 2)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    facial &= area > 0
    facial[facial] &= ~_hidden(Mesh(vertices, faces), np.nonzero(facial)[0], axis)
    return uv, facial


def _unroll(points: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) → (N, 2): angle to the subject's left in radians, and height in mm."""
    return np.column_stack([np.arctan2(points[:, 0] - axis[0], points[:, 2] - axis[1]), points[:, 1]])


def _hidden(mesh: Mesh, faces: NDArray[np.int64], axis: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K,) whether something else lies farther out on the same ray from the axis."""
    middle = mesh.face_corners()[faces].mean(1)
    outward = (middle - [axis[0], 0, axis[1]]) * (1, 0, 1)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    return RayCaster(mesh).blocked(middle + 1000 * outward, middle, tolerance=0.05)
