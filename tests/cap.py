"""What many tests are drawn on: grids of triangles, and a cap of a sphere that is known everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS = 80.0  # mm, of the sphere around the origin
SPAN = 1.2  # radians of longitude and latitude from u, v = 0 to 1


def directions(uv: NDArray) -> NDArray:
    """(..., 2) UV → (..., 3) unit directions; u runs to +x, v to +y, the middle looks along +z."""
    lon, lat = np.moveaxis((np.asarray(uv) - 0.5) * SPAN, -1, 0)
    return np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], -1)


def grid_triangles(rows: int, columns: int | None = None) -> NDArray[np.int64]:
    """(F, 3) faces of a grid of vertices, row by row: counter-clockwise where x and y grow with them."""
    columns = columns or rows
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    return np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def grid_uv(count: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
    """(count², 2) UV [low, high]² as a grid, row by row; v grows with the row."""
    line = np.linspace(low, high, count)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
