"""Regions of a UV layout, drawn as polygons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
