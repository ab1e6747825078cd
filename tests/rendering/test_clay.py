"""Shaded pictures against what geometry says they must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import ReliefMaps, face_directions, shade, turntable_cameras
from mesoface.rendering.false_color import UNKNOWN, add_legend, colorize, percentile_limits
from tests.cap import grid_triangles


def ball(radius: float = 50.0, rings: int = 48, front: float = np.pi) -> Mesh:
    """A sphere around the origin, or its cap around +z out to the polar angle ``front``."""
    theta, phi = np.meshgrid(np.linspace(1e-3, front, rings), np.linspace(0, 2 * np.pi, rings), indexing="ij")
    points = radius * np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    return Mesh(points.reshape(-1, 3), grid_triangles(rings)[:, ::-1])


def camera(size: int = 64) -> Camera:
    R, t = look_at((0, 0, 400), (0, 0, 0))
    return Camera([[size * 3, 0, (size - 1) / 2], [0, size * 3, (size - 1) / 2], [0, 0, 1]], R, t, size, size)


def test_normals_picture_shows_camera_axes_right_up_towards() -> None:
    picture = shade(ball(), camera(), mode="normals")
    np.testing.assert_allclose(picture[32, 32], [0.5, 0.5, 1.0], atol=0.03)
    assert picture[32, 50, 0] > 0.75  # right of the centre: normal to the right
    assert picture[14, 32, 1] > 0.75  # above: normal up
    assert (picture[0, 0] == 1).all()  # background


def test_silhouette_has_the_area_of_the_ball() -> None:
    picture = shade(ball(), camera(128), background=(0, 0, 1), mode="normals")
    outside = (picture[..., 2] == 1) & (picture[..., :2] == 0).all(-1)
    radius = 3 * 128 * np.tan(np.arcsin(50 / 400))
    assert (~outside).sum() == pytest.approx(np.pi * radius**2, rel=0.03)


def test_clay_is_brightest_towards_the_key_light_above_left() -> None:
    picture = shade(ball(), camera(), background=(0, 0, 0)).mean(-1)
    assert picture[:32, :32].mean() > picture[32:, :32].mean()
    assert picture[:32, :32].mean() > picture[32:, 32:].mean() * 1.3


def test_background_may_be_colored_and_edges_are_blended() -> None:
    picture = shade(ball(), camera(), mode="normals", background=(0, 0, 0))
    hard = shade(ball(), camera(), mode="normals", background=(0, 0, 0), antialias=1)
    assert len(np.unique(picture[..., 2])) > len(np.unique(hard[..., 2])) * 0.9
    assert picture.dtype == np.float32
    assert picture.shape == (64, 64, 3)


def test_vertex_colors_come_unlit() -> None:
    mesh = ball()
    colored = replace(mesh, colors=np.full((len(mesh.vertices), 3), (255, 128, 0), np.uint8))
    np.testing.assert_allclose(shade(colored, camera(), mode="color")[32, 32], [1, 128 / 255, 0], atol=1e-4)
    with pytest.raises(ValueError, match="no vertex colours"):
        shade(mesh, camera(), mode="color")


def test_scalar_is_drawn_with_unknown_in_grey() -> None:
    mesh = ball()
    scalar = np.where(mesh.vertices[:, 0] < 0, np.nan, 1.0)
    picture = shade(mesh, camera(), scalar=scalar, limits=(0, 1))
    left, right = picture[32, 20], picture[32, 44]
    assert np.ptp(left) < 0.05
    assert right[0] > 2 * right[2]  # turbo's end is red


def test_back_faces_are_darker() -> None:
    mesh = ball(front=np.pi / 2)
    behind = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    assert shade(behind, camera())[32, 32].mean() < 0.7 * shade(mesh, camera())[32, 32].mean()


def test_a_ray_caster_draws_the_same_as_its_mesh() -> None:
    np.testing.assert_array_equal(shade(ball(), camera()), shade(RayCaster(ball()), camera()))


def test_an_empty_mesh_is_background() -> None:
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))
    assert (shade(empty, camera(8), background=(0.25, 0.5, 0.75)) == (0.25, 0.5, 0.75)).all()


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be"):
        shade(ball(), camera(), mode="wireframe")  # type: ignore[arg-type]


def test_turntable_frames_the_mesh_upright_from_the_asked_side() -> None:
    mesh = ball(front=1.2)
    up, forward = np.array([0, 0.6, 0.8]), np.array([0, 0.8, -0.6])
    cameras = turntable_cameras(mesh, forward=forward, up=up, angles=(0, 40, 90), size=(300, 400))
    for cam in cameras:
        pixels, depth = cam.project(mesh.vertices)
        assert (depth > 0).all()
        assert (pixels > 0).all()
        assert (pixels < (299, 399)).all()
        extent = np.ptp(pixels, axis=0) / (300, 400)
        assert extent.max() > 0.85
        np.testing.assert_allclose(pixels.min(0) + pixels.max(0), (299, 399), atol=12)
        assert up @ cam.R[1] < -0.999
    np.testing.assert_allclose(cameras[0].forward, -forward, atol=1e-9)
    left = np.cross(up, forward)  # of the subject
    np.testing.assert_allclose(cameras[2].forward, -left, atol=1e-9)
    assert left @ cameras[1].center > 0


def test_directions_of_a_face_from_its_normals_and_uvs() -> None:
    mesh = ball(front=1.2)
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])  # +z (out) becomes +x, +y (up) becomes +z
    uv = mesh.vertices[:, :2] / 100 + 0.5
    forward, up = face_directions(Mesh(mesh.vertices @ turn.T, mesh.faces, uv=uv))
    np.testing.assert_allclose(forward, [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(up, [0, 0, 1], atol=0.02)


def test_directions_without_uvs_take_the_long_axis_towards_plus_y() -> None:
    mesh = ball(front=1.2)
    forward, up = face_directions(Mesh(mesh.vertices * (1, 1.5, 1), mesh.faces))
    np.testing.assert_allclose(forward, [0, 0, 1], atol=0.02)
    np.testing.assert_allclose(up, [0, 1, 0], atol=0.05)


@pytest.mark.parametrize("name", ["turbo", "viridis", "magma", "gray", "balance"])
def test_colormaps_run_from_end_to_end_and_clip(name: str) -> None:
    rgb = colorize([-5, 0, 0.5, 1, 9, np.nan], (0, 1), name)
    np.testing.assert_array_equal(rgb[0], rgb[1])
    np.testing.assert_array_equal(rgb[3], rgb[4])
    assert np.abs(rgb[1] - rgb[3]).max() > 0.25
    np.testing.assert_allclose(rgb[5], UNKNOWN)


def test_balance_is_white_at_zero() -> None:
    assert colorize([0.0], (-1, 1), "balance").min() > 0.94


def test_unknown_colormap_is_refused() -> None:
    with pytest.raises(ValueError, match="colormap must be"):
        colorize([0.0], (0, 1), "jet")


def test_percentile_limits_pass_over_nan_and_constants() -> None:
    low, high = percentile_limits([np.nan, *range(101)])
    assert (low, high) == (1, 99)
    assert percentile_limits([2, 2, 2]) == (2, 3)
    assert percentile_limits([np.nan]) == (0, 1)


def test_legend_keeps_the_picture_and_adds_a_bar_below() -> None:
    picture = np.random.default_rng(0).random((50, 300, 3)).astype(np.float32)
    out = add_legend(picture, (0, 0.5), "error [mm]")
    np.testing.assert_array_equal(out[:50], picture)
    assert out.shape[1:] == (300, 3)
    bar = out[50:, 150]
    middle = colorize(0.25, (0, 0.5))
    assert np.abs(bar - middle).max(-1).min() < 0.02


def test_smooth_normals_vary_within_a_facet() -> None:
    coarse = ball(rings=9)
    pictures = (shade(coarse, camera(), mode="normals", smooth=smooth, antialias=1) for smooth in (0, 1))
    shades = [len(np.unique(np.round(picture.reshape(-1, 3), 4), axis=0)) for picture in pictures]
    assert shades[0] < 70
    assert shades[1] > 10 * shades[0]


def plates(*depths: float) -> Mesh:
    """Squares of 80 mm that look to +z, one behind the other, each over the whole of the UV square."""
    square = np.array([[-40, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0.0]])
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(len(depths))])
    uv = np.tile([[0.0, 0], [1, 0], [1, 1], [0, 1]], (len(depths), 1))
    return Mesh(np.concatenate([square + (0, 0, z) for z in depths]), faces, uv)


def test_a_relief_is_drawn_instead_of_the_meshs_normals() -> None:
    tilted = np.full((16, 16, 3), (0.6, 0, 0.8), np.float32)
    tilted[:8] = (0, 0, 1)  # the upper half
    relief = ReliefMaps(tilted, np.ones((16, 16), bool))
    picture = shade(plates(0), camera(), mode="normals", relief=relief)
    np.testing.assert_allclose(picture[20, 32], [0.5, 0.5, 1], atol=0.01)
    np.testing.assert_allclose(picture[44, 32], [0.8, 0.5, 0.9], atol=0.01)


def test_rays_go_on_through_what_is_cut_away() -> None:
    flat = np.full((64, 64, 3), (0, 0, 1), np.float32)
    shown = np.broadcast_to(np.arange(64) < 32, (64, 64))  # not the right half
    options = {"mode": "normals", "relief": ReliefMaps(flat, shown), "background": (0, 0, 0)}
    seen = shade(plates(0), camera(), **options)
    assert seen[32, 20].any()
    assert not seen[32, 44].any()
    # a second plate behind, of half the size: its own right half is cut as well, its left half shows through
    both = plates(0, -40)
    both.vertices[4:, 0] = both.vertices[4:, 0] / 2 + 20  # from 0 to 40: behind the front one's right half
    seen = shade(both, camera(), **options)
    assert seen[32, 36].any(), "the plate behind, where it is whole"
    assert not seen[32, 48].any(), "where both are cut away"


def test_a_relief_needs_uvs() -> None:
    relief = ReliefMaps(np.full((4, 4, 3), (0, 0, 1), np.float32), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="one UV a vertex"):
        shade(ball(), camera(8), relief=relief)
