"""A sphere cap with UVs: positions, normals and distances are known at every texel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mesoface.geometry.mesh import Mesh
from tests.cap import RADIUS, directions, grid_triangles, grid_uv


@dataclass(frozen=True, eq=False)
class Cap:
    """Cap of a sphere of ``radius`` mm around the origin; ``direction(uv)`` is its analytic normal."""

    mesh: Mesh
    radius: float
    direction = staticmethod(directions)


@pytest.fixture(scope="session")
def make_cap() -> Callable[..., Cap]:
    """``make_cap(radius=80)`` → a cap that covers UV [0.1, 0.9]²."""

    def make(radius: float = RADIUS) -> Cap:
        uv = grid_uv(97, 0.1, 0.9)
        return Cap(Mesh(radius * directions(uv), grid_triangles(97), uv), radius)

    return make


@pytest.fixture(scope="session")
def cap(make_cap) -> Cap:
    """The cap of 80 mm."""
    return make_cap()
