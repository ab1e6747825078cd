"""Surfaces of patches, rays that meet them and the truth in UVD space, against what is known otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.training.patches.height import HeightField
from mesoface.lab.training.patches.hit import first_hits
from mesoface.lab.training.patches.rig import draw_directions, draw_pose
from mesoface.lab.training.patches.scale import draw_scale
from mesoface.lab.training.patches.space import draw_space, middle_of, moved, true_displacement
from mesoface.lab.training.patches.surface import Bend, draw_surface
from mesoface.uvd.rasterize import grid_faces
from mesoface.uvd.space import UVDSpace

SPACING = 0.1


def sampled(function, n: int = 192) -> HeightField:
    flat = HeightField(np.zeros((n, n), np.float32), SPACING)
    x, y = flat.plane()
    return replace(flat, z=(function(x, y) + 0 * x * y).astype(np.float32))


def camera_at(center, size: int = 96, pixel: float = 0.15) -> Camera:
    R, t = look_at(center, (0, 0, 0))
    focal = float(np.linalg.norm(center)) / pixel
    middle = (size - 1) / 2
    return Camera(np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), R, t, size, size)


def as_mesh(heights: HeightField) -> Mesh:
    x, y = heights.plane()
    grid = np.stack(np.broadcast_arrays(x, y, heights.z), -1).astype(np.float64)
    return Mesh(grid.reshape(-1, 3), grid_faces(np.ones(heights.z.shape, bool)))


def test_convention_rows_run_down_and_columns_right():
    tilted = sampled(lambda x, y: 0.3 * x + 0.1 * y)
    assert tilted.at(np.array([[2.0, 1.0]])) == pytest.approx(0.7, abs=1e-5)
    np.testing.assert_allclose(tilted.index(np.array([2.0, 1.0])), [95.5 + 20, 95.5 - 10])
    normal = np.array([-0.3, -0.1, 1]) / np.linalg.norm([0.3, 0.1, 1])
    np.testing.assert_allclose(tilted.normals()[50, 60], normal, atol=1e-4)


def test_texels_are_evenly_spaced_along_a_bent_base():
    bend = Bend(1 / 9)
    t = bend.at_arc(np.linspace(-12, 12, 49))
    points = np.column_stack([t, bend.height(t)])
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 0.5, rtol=4e-3)
    np.testing.assert_allclose(bend.height(np.array([0.1])), -0.01 / 18, rtol=1e-3)  # a circle's sagitta
    assert (np.abs(np.diff(points[:, 1]) / np.diff(points[:, 0])) < 1.6).all()


@pytest.mark.parametrize("center", [(0, 0, 600), (350, 100, 450), (-500, 200, 300)])
def test_rays_hit_where_embree_says(center):
    waves = sampled(lambda x, y: 1.2 * np.sin(x / 1.1) * np.cos(y / 1.6) - x**2 / 60)
    camera = camera_at(center)
    column, row = first_hits(camera, waves, 2)
    # The mean of the rays in a pixel is the ray through its centre, to second order.
    column, row = (a.reshape(96, 2, 96, 2).mean((1, 3)) for a in (column, row))
    hits = RayCaster(as_mesh(waves)).render(camera)
    mesh = as_mesh(waves)
    expected = waves.index(hits.interpolate(mesh.vertices, mesh.faces)[:, :2]).reshape(96, 96, 2)
    away = np.hypot(column - expected[..., 0], row - expected[..., 1])[hits.hit.reshape(96, 96)]
    # A sample is a quarter of a texel; edges of what hides itself differ by whole waves.
    assert np.median(away) < 0.05
    assert np.mean(away < 0.5) > 0.93


def test_the_nearer_of_two_hills_hides_the_valley():
    hills = sampled(lambda x, y: 2.5 * np.exp(-((np.abs(x) - 4) ** 2)))
    camera = camera_at((600, 0, 160))  # low, from the right: the foot of the right hill's far side is hidden
    column, _ = first_hits(camera, hills, 2)
    x = (column - (hills.size - 1) / 2) * SPACING
    seen = np.histogram(x, np.arange(-8, 8.5, 0.5))[0]
    hidden = (np.arange(-8, 8, 0.5) >= 0) & (np.arange(-8, 8, 0.5) < 2.5)
    assert seen[hidden].max() < 0.1 * seen.max()


def test_truth_of_a_plane_and_of_a_sphere():
    u = np.linspace(-3, 3, 24)
    x, y = np.meshgrid(u, -u)
    normal = np.zeros((24, 24, 3), np.float32)
    normal[..., 2] = 1
    flat = UVDSpace(np.stack([x, y, 0 * x], -1).astype(np.float32), normal, np.ones((24, 24), bool))
    tilted = sampled(lambda x, y: 0.2 * x + 0.4)
    np.testing.assert_allclose(true_displacement(flat, tilted, 3.0), 0.2 * x + 0.4, atol=2e-3)
    # Along slanted normals the surface is further.
    slanted = replace(flat, normal=np.broadcast_to(np.array([0.6, 0, 0.8], np.float32), normal.shape))
    expected = (0.2 * x + 0.4) / (0.8 - 0.2 * 0.6)
    np.testing.assert_allclose(true_displacement(slanted, tilted, 3.0), expected, atol=2e-3)


def test_truth_is_nan_where_the_surface_is_out_of_reach():
    normal = np.zeros((8, 8, 3), np.float32)
    normal[..., 2] = 1
    x, y = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8))
    space = UVDSpace(np.stack([x, y, 0 * x], -1).astype(np.float32), normal, np.ones((8, 8), bool))
    assert np.isnan(true_displacement(space, sampled(lambda x, y: 2.6), 1.0)).all()
    assert np.isfinite(true_displacement(space, sampled(lambda x, y: 2.4), 1.0)).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_lies_on_the_surface(seed):
    rng = np.random.default_rng(seed)
    scale = draw_scale(rng, 32)
    surface = draw_surface(rng, scale)
    space = middle_of(draw_space(rng, surface, scale))
    truth = true_displacement(space, surface.heights, scale.reach * scale.step * space.texel_mm)
    points = space.displaced(truth).astype(np.float64)
    above = points[..., 2] - surface.heights.at(points[..., :2])
    assert np.isfinite(truth).mean() > 0.9
    assert np.nanmax(np.abs(above)) < 0.01 * space.texel_mm


def test_moving_the_world_moves_positions_and_turns_normals():
    space = UVDSpace(
        np.ones((4, 4, 3), np.float32), np.tile(np.float32([1, 0, 0]), (4, 4, 1)), np.ones((4, 4), bool)
    )
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    there = moved(space, turn, np.array([0.0, 0, 5]))
    np.testing.assert_allclose(there.position[0, 0], [-1, 1, 6])
    np.testing.assert_allclose(there.normal[0, 0], [0, 1, 0])


def test_every_pose_is_seen_by_two_cameras():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        directions = draw_directions(rng)
        pose = draw_pose(rng, directions)
        np.testing.assert_allclose(pose @ pose.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose) > 0
        assert (directions @ pose[:, 2] > 0.3).sum() >= 2
