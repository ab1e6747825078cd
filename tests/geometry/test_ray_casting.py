"""Distances alone, against whole hits and against what is known of a ball."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from tests.cap import grid_triangles


@pytest.fixture(scope="module")
def ball() -> RayCaster:
    """A faceted ball of 50 mm, a metre from the world's origin."""
    angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(-1, 1, 81))
    ring = np.sqrt(1 - height**2)
    points = 50 * np.stack([ring * np.cos(angle), ring * np.sin(angle), height], -1).reshape(-1, 3)
    return RayCaster(Mesh(points + (1000.0, 0, 0), grid_triangles(81, 121)))


@pytest.fixture(scope="module")
def rays(ball: RayCaster):
    """Rays from around the ball, most of which meet it, many at a grazing angle."""
    rng = np.random.default_rng(3)
    origins = ball.mesh.vertices.mean(0) + 120 * unit(rng.normal(size=(4000, 3)))
    targets = ball.mesh.vertices.mean(0) + rng.uniform(-45, 45, (4000, 3))
    return origins, unit(targets - origins)


def test_distances_are_those_of_whole_hits(ball, rays):
    whole = ball.cast(*rays).distance
    distance = ball.distances(*rays)
    np.testing.assert_array_equal(np.isfinite(distance), np.isfinite(whole))
    met = np.isfinite(whole)
    assert 0.7 < met.mean() < 1
    steep = met & (np.abs(np.einsum("nk,nk->n", unit(rays[0] - (1000, 0, 0)), rays[1])) > 0.9)
    np.testing.assert_allclose(distance[steep], whole[steep], atol=1e-4)
    np.testing.assert_allclose(distance[met], whole[met], atol=2e-2)


def test_what_is_out_of_reach_is_not_met(ball, rays):
    distance = ball.distances(*rays)
    limit = float(np.median(distance[np.isfinite(distance)]))
    near = ball.distances(*rays, reach=limit)
    np.testing.assert_array_equal(np.isfinite(near), distance < limit)
    each = np.where(np.arange(len(distance)) % 2, 0.0, np.inf)
    np.testing.assert_array_equal(np.isfinite(ball.distances(*rays, reach=each))[1::2], False)


def test_no_rays_and_no_faces_meet_nothing(ball):
    assert ball.distances(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    nothing = RayCaster(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)))
    assert np.isinf(nothing.distances(np.zeros(3), np.eye(3))).all()
