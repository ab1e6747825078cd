"""A sphere cap with UVs: positions, normals and distances are known at every texel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh

RADIUS = 80.0  # mm
SPAN = 1.2  # radians of longitude and latitude from u, v = 0 to 1


def directions(uv: NDArray) -> NDArray:
    """(..., 2) UV → (..., 3) unit directions; u runs to +x, v to +y, the middle looks along +z."""
    lon, lat = np.moveaxis((np.asarray(uv) - 0.5) * SPAN, -1, 0)
    return np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], -1)


@dataclass(frozen=True, eq=False)
class Cap:
    """Cap of a sphere of ``radius`` mm around the origin; ``direction(uv)`` is its analytic normal."""

    mesh: Mesh
    radius: float
    direction: Callable[[NDArray], NDArray]


@pytest.fixture(scope="session")
def make_cap() -> Callable[..., Cap]:
    """``make_cap(radius=80, low=0.1, high=0.9)`` → a cap that covers UV [low, high]²."""

    def make(radius: float = RADIUS, low: float = 0.1, high: float = 0.9, count: int = 97) -> Cap:
        line = np.linspace(low, high, count)
        uv = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)  # v grows with the row
        index = np.arange(count * count).reshape(count, count)
        a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
        c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
        faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
        return Cap(Mesh(radius * directions(uv), faces, uv), radius, directions)

    return make
