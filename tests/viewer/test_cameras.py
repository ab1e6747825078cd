"""Frusta and photos stand where the cameras say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera, look_at
from mesoface.viewer.server import (
    covering_field_of_view,
    field_of_view,
    frustum_scale,
    photo_plane,
    quaternion,
)


@pytest.fixture
def camera() -> Camera:
    """Its principal point is far from the middle."""
    R, t = look_at((300, 80, 500), (0, 10, 0), (0.1, 1, 0))
    return Camera([[900, 0, 210], [0, 950, 420], [0, 0, 1]], R, t, 540, 960)


def test_the_photo_covers_exactly_what_the_camera_sees(camera):
    center, width, height = photo_plane(camera, 250.0)
    w, x, y, z = quaternion(camera)
    right, down, _ = Rotation.from_quat([x, y, z, w]).as_matrix().T
    for sign in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        corner = center + right * sign[0] * width / 2 + down * sign[1] * height / 2
        pixel, depth = camera.project(corner)
        expected = [-0.5 if sign[0] < 0 else 539.5, -0.5 if sign[1] < 0 else 959.5]
        np.testing.assert_allclose(pixel, expected, atol=1e-9)
        assert depth == pytest.approx(250)


@pytest.mark.parametrize("aspect", [0.4, 1.0, 2.5])
def test_the_window_has_the_whole_photo_in_it_and_no_more_than_needed(camera, aspect):
    slope = np.tan(covering_field_of_view(camera, aspect) / 2)
    corners = np.array([[-0.5, -0.5], [539.5, 959.5]])
    x, y = np.abs((corners - camera.K[:2, 2]) / np.diag(camera.K)[:2]).T
    assert max(x.max() / (slope * aspect), y.max() / slope) == pytest.approx(1)


def test_a_frustum_is_as_long_as_asked(camera):
    """viser divides by the cube root of a third of half-width × half-height × 1, and multiplies by scale."""
    y = np.tan(field_of_view(camera) / 2)
    x = y * camera.width / camera.height
    assert frustum_scale(camera, 0.2) / np.cbrt(x * y / 3) == pytest.approx(0.2)
