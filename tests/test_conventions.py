"""Conventions that no single module owns; docs/conventions.md lists all of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from mesoface.captures.load import load_capture
from mesoface.geometry.mesh import Mesh
from mesoface.uvd.maps import grid_faces, rasterize_uv, sample_map, texel_centers
from mesoface.uvd.space import UVDSpace


def sphere_patch(size: int = 32, radius: float = 50.0) -> UVDSpace:
    """The front of a sphere around the origin: u runs to +x, v to +y, outward is +z."""
    x, y = np.moveaxis((texel_centers(size) - 0.5) * 1.2, -1, 0)  # angles
    normal = np.stack([np.sin(x) * np.cos(y), np.sin(y), np.cos(x) * np.cos(y)], -1)
    return UVDSpace(
        (radius * normal).astype(np.float32), normal.astype(np.float32), np.ones((size, size), bool)
    )


def test_convention_images_are_rgb_floats(capture_folder):
    folder = capture_folder(lens=None)
    red = np.zeros((128, 96, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    for photo in folder.glob("*.jpg"):
        cv2.imwrite(str(photo), red)
    image = load_capture(folder).views[0].image
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.mean((0, 1)), [1, 0, 0], atol=0.02)


def test_convention_uv_origin_is_bottom_left_and_row_zero_is_on_top():
    centers = texel_centers(4)
    np.testing.assert_allclose(centers[0, 0], [0.125, 0.875])
    np.testing.assert_allclose(centers[3, 0], [0.125, 0.125])
    np.testing.assert_allclose(centers[0, 3], [0.875, 0.875])


def test_convention_texel_centres_are_at_half_integers():
    """A map is sampled, and a mesh rasterised, at exactly the texels' centres."""
    size = 8
    values = np.arange(size * size, dtype=np.float32).reshape(size, size)
    sampled = sample_map(values, texel_centers(size).reshape(-1, 2))
    np.testing.assert_allclose(sampled, values.ravel(), atol=1e-4)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    drawn = rasterize_uv(corners, faces, size).interpolate(corners, faces)
    np.testing.assert_allclose(drawn, texel_centers(size), atol=1e-6)


def test_convention_displacement_is_positive_outward():
    space = sphere_patch()
    for height in (2.0, -2.0):
        radius = np.linalg.norm(space.displaced(np.full((32, 32), height)), axis=-1)
        np.testing.assert_allclose(radius, 50 + height, atol=1e-4)


def test_convention_triangles_are_counter_clockwise_from_outside():
    space = sphere_patch()
    mesh = Mesh(space.position.reshape(-1, 3), grid_faces(space.valid))
    outward = mesh.face_corners().mean(1)
    assert (np.einsum("fk,fk->f", mesh.face_normals(), outward) > 0).all()


def test_convention_millimetres_are_world_units_times_the_scale(make_capture):
    """The same point in another unit is seen at the same pixel."""
    metric = make_capture()
    metres = replace(
        metric,
        views=tuple(replace(v, camera=v.camera.scaled_world(0.001)) for v in metric.views),
        mm_per_unit=None,
    )
    point = np.array([10.0, -20.0, 70.0])
    for view, again in zip(metric.views, metres.in_millimetres(1000.0).views, strict=True):
        np.testing.assert_allclose(view.camera.project(point)[0], again.camera.project(point)[0], atol=1e-9)
        np.testing.assert_allclose(view.camera.center, again.camera.center, atol=1e-9)
