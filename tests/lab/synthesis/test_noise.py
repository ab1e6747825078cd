"""Noise has the moments it promises, and scattered points the density."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mesoface.geometry.mesh import Mesh
from mesoface.lab.synthesis.anatomy import cell_distances, scatter, solid_noise


@pytest.mark.parametrize("octaves", [1, 3])
def test_noise_has_zero_mean_and_unit_variance(octaves: int) -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (60_000, 3))
    value = solid_noise(points, 3.0, np.random.default_rng(1), octaves=octaves)
    assert abs(value.mean()) < 0.05
    assert abs(value.std() - 1) < 0.05


def test_noise_varies_over_its_wavelength() -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (20_000, 3))

    def change(step: float) -> float:
        rng = [np.random.default_rng(1) for _ in range(2)]
        moved = solid_noise(points + np.array([step, 0, 0]), 4.0, rng[1])
        return float(np.std(solid_noise(points, 4.0, rng[0]) - moved))

    assert change(0.1) < 0.2
    assert change(40.0) > 1.2


def test_noise_fades_where_points_are_too_sparse_for_it() -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (5_000, 3))
    spacing = np.where(points[:, 0] > 0, 0.1, 10.0)
    value = solid_noise(points, 2.0, np.random.default_rng(1), spacing=spacing)
    assert value[points[:, 0] > 0].std() > 0.8
    assert np.abs(value[points[:, 0] <= 0]).max() == 0


def ball(subdivisions: int) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions, 10.0)
    return Mesh(sphere.vertices, sphere.faces)


def test_scatter_keeps_the_density() -> None:
    mesh = ball(3)
    upper = mesh.face_corners().mean(1)[:, 2] > 0
    points, face, bary = scatter(mesh, np.where(upper, 8.0, 0.0), np.random.default_rng(2))
    assert upper[face].all()
    expected = 8.0 * mesh.face_areas()[upper].sum()
    assert abs(len(points) - expected) < 5 * np.sqrt(expected)
    np.testing.assert_allclose(np.einsum("kc,kcd->kd", bary, mesh.face_corners()[face]), points)


def test_scatter_with_no_density_is_empty() -> None:
    points, _, _ = scatter(ball(1), 0.0, np.random.default_rng(2))
    assert points.shape == (0, 3)


def test_cells_beyond_reach_are_infinitely_far() -> None:
    seeds = np.array([[0.0, 0, 0], [1, 0, 0]])
    distance, nearest = cell_distances(np.array([[0.2, 0, 0], [9, 0, 0]]), seeds, reach=2.0)
    np.testing.assert_allclose(distance, [[0.2, 0.8], [np.inf, np.inf]])
    assert nearest.tolist() == [0, 2]
