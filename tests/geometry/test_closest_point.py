"""Closest points against brute force, and open edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesoface.evaluation.truth import sample_surface
from mesoface.geometry.closest_point import MeshSurface, closest_on_triangles, open_edges
from mesoface.geometry.mesh import Mesh
from tests.cap import grid_triangles, grid_uv


def brute_force(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """(N,) distances, every point to every face."""
    best = np.full(len(points), np.inf)
    for face in mesh.face_corners():
        corners = (np.broadcast_to(corner, (len(points), 3)) for corner in face)
        best = np.minimum(best, closest_on_triangles(points, *corners)[1])
    return np.sqrt(best)


def by_grid(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, n: int = 400) -> float:
    """Distance of a point to a triangle by trying many points of it."""
    u, v = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    grid = a + u[..., None] * (b - a) + v[..., None] * (c - a)
    return float(np.linalg.norm(grid - p, axis=-1).min())


coordinates = st.floats(-5, 5, allow_nan=False, width=32)
triples = st.tuples(coordinates, coordinates, coordinates)


@settings(max_examples=40, deadline=None)
@given(triples, triples, triples, triples)
def test_point_triangle_distance_agrees_with_trying_many_points(
    p: tuple, a: tuple, b: tuple, c: tuple
) -> None:
    arrays = [np.array([x], float) for x in (p, a, b, c)]
    bary, squared = closest_on_triangles(*arrays)
    exact = by_grid(*(x[0] for x in arrays))
    assert np.sqrt(squared[0]) <= exact + 1e-6
    assert np.sqrt(squared[0]) >= exact - 0.06
    point = bary[0] @ np.concatenate(arrays[1:])
    assert np.linalg.norm(point - arrays[0][0]) == pytest.approx(np.sqrt(squared[0]), abs=1e-5)
    assert bary.sum() == pytest.approx(1)
    assert (bary >= -1e-9).all()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15, 64, 65, 500])
def test_closest_point_is_exact_among_any_number_of_faces(count: int) -> None:
    rng = np.random.default_rng(count)
    centers = rng.normal(size=(count, 1, 3)) * 30
    # sizes over four orders of magnitude, slivers among them
    corners = centers + rng.normal(size=(count, 3, 3)) * 10 ** rng.uniform(-2, 2, (count, 1, 1))
    mesh = Mesh(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))
    points = rng.normal(size=(300, 3)) * 40
    closest = MeshSurface(mesh).closest(points)
    np.testing.assert_allclose(closest.distance, brute_force(mesh, points), rtol=1e-7, atol=1e-9)
    on_face = np.einsum("nk,nkc->nc", closest.bary, mesh.vertices[mesh.faces[closest.face]])
    np.testing.assert_allclose(on_face, closest.points, atol=1e-9)


def grid(n: int = 12) -> Mesh:
    """A flat n × n grid in z = 0, facing +z."""
    return Mesh(np.column_stack([grid_uv(n, 0, n - 1), np.zeros(n * n)]), grid_triangles(n))


@pytest.mark.parametrize("height", [0.0, 0.01, 3.0, 1000.0])
def test_closest_point_of_a_plane_is_the_foot(height: float) -> None:
    points = np.column_stack([np.random.default_rng(0).uniform(0, 11, (400, 2)), np.full(400, height)])
    closest = MeshSurface(grid()).closest(points)
    np.testing.assert_allclose(closest.points, points * (1, 1, 0), atol=1e-9)
    np.testing.assert_allclose(closest.distance, height, atol=1e-12)


def test_faces_without_area_are_passed_over() -> None:
    mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], [[0, 1, 2], [3, 3, 3], [0, 1, 1], [0, 3, 0]])
    closest = MeshSurface(mesh).closest([[5, 5, 5]])
    assert closest.face[0] == 0
    with pytest.raises(ValueError, match="no face with an area"):
        MeshSurface(Mesh(mesh.vertices, mesh.faces[1:]))


def test_no_points_give_no_results() -> None:
    assert len(MeshSurface(grid()).closest(np.zeros((0, 3))).distance) == 0


def test_points_beyond_the_rim_are_told_from_those_above() -> None:
    surface = MeshSurface(grid())
    points = [[5.5, 5.2, 3], [-1, 5.5, 0], [12, 12, 1], [0.01, 5, 2], [5, 5, 1], [11.001, 3, 0]]
    assert surface.on_boundary(surface.closest(points)).tolist() == [False, True, True, False, False, True]


def test_seams_and_soups_have_no_rim_inside() -> None:
    mesh = grid(5)
    soup = Mesh(mesh.face_corners().reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    np.testing.assert_array_equal(open_edges(soup), open_edges(mesh))
    assert open_edges(mesh).sum() == 16


def test_closed_surface_has_no_rim() -> None:
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert not open_edges(Mesh(vertices, [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])).any()


def test_interpolated_normals_use_the_stored_ones() -> None:
    mesh = grid(2)
    tilted = Mesh(mesh.vertices, mesh.faces, normals=np.tile([0.6, 0, 0.8], (4, 1)))
    surface = MeshSurface(tilted)
    np.testing.assert_allclose(surface.normals(surface.closest([[0.3, 0.4, 2]])), [[0.6, 0, 0.8]])


def test_samples_are_uniform_by_area_whatever_the_triangles() -> None:
    # left half: one pair of triangles; right half: 2 × 100 thin ones
    x = np.concatenate([[0.0], np.linspace(1, 2, 101)])
    vertices = np.concatenate([np.column_stack([x, np.full(102, y), np.zeros(102)]) for y in (0, 1)])
    mesh = Mesh(vertices, grid_triangles(2, 102))
    samples = sample_surface(mesh, 10_000, seed=4)
    assert (samples.points[:, 0] < 1).mean() == pytest.approx(0.5, abs=0.002)
    np.testing.assert_allclose(samples.points.mean(0), [1, 0.5, 0], atol=0.02)
    np.testing.assert_allclose(samples.points.var(0), [1 / 3, 1 / 12, 0], atol=0.01)
    rebuilt = np.einsum("nk,nkc->nc", samples.bary, vertices[mesh.faces[samples.face]])
    np.testing.assert_allclose(rebuilt, samples.points)
    np.testing.assert_array_equal(samples.points, sample_surface(mesh, 10_000, seed=4).points)
    assert not np.array_equal(samples.points, sample_surface(mesh, 10_000, seed=5).points)


def test_sampling_no_area_is_refused() -> None:
    with pytest.raises(ValueError, match="no area"):
        sample_surface(grid(2), 10, among=np.zeros(0, int))
