"""A surface as heights over a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from mesoface.geometry.mesh import unit


@dataclass(frozen=True, eq=False)
class HeightField:
    """Heights z over a square of the plane z = 0, bilinear between samples, constant beyond the rim.

    Columns run along +x, rows along -y: seen from +z it looks as the array is printed.

    Args:
        z: (n, n) float32 mm.
        spacing: distance between samples, mm.
    """

    z: NDArray[np.float32]
    spacing: float

    @property
    def size(self) -> int:
        """Samples a side."""
        return self.z.shape[0]

    def plane(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(1, n) x and (n, 1) y of the samples, mm."""
        line = ((np.arange(self.size) - (self.size - 1) / 2) * self.spacing).astype(np.float32)
        return line[None], -line[:, None]

    def index(self, xy: NDArray) -> NDArray:
        """(..., 2) mm → (..., 2) column and row."""
        middle = (self.size - 1) / 2
        return np.stack([middle + xy[..., 0] / self.spacing, middle - xy[..., 1] / self.spacing], -1)

    def at(self, xy: NDArray) -> NDArray[np.float64]:
        """(..., 2) mm → (...,) heights, mm."""
        column, row = np.moveaxis(self.index(xy), -1, 0)
        return map_coordinates(self.z, [row, column], np.float64, order=1, mode="nearest")

    def normals(self) -> NDArray[np.float32]:
        """(n, n, 3) unit normals at the samples, upwards."""
        down, right = np.gradient(self.z, np.float32(self.spacing))
        return unit(np.stack([-right, down, np.ones_like(down)], -1))
