"""The photo error is that of the photos."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.ray_casting import RayCaster
from mesoface.report.pictures import photo_errors
from mesoface.texture import Texture
from mesoface.uvd.maps import sample_map


@pytest.fixture
def view(drawn_face):
    """A perfect photo of the drawn face in its texture, on grey."""
    rotation, center = drawn_face.fit.rotation, drawn_face.base.vertices.mean(0)
    R, t = look_at(center + rotation @ (80, 40, 600), center, rotation[:, 1])
    camera = Camera([[900, 0, 149.5], [0, 900, 199.5], [0, 0, 1]], R, t, 300, 400)
    mesh = drawn_face.fine.mesh
    hits = RayCaster(mesh).render(camera)
    color = sample_map(drawn_face.texture.color, hits.interpolate(mesh.uv, mesh.faces))
    image = np.where(hits.hit[:, None], color, 0.5).reshape(400, 300, 3).astype(np.float32)
    return View("0", image, camera)


def only(face, view, texture=None):
    (error,) = photo_errors([view], RayCaster(face.fine.mesh), texture or face.texture)
    return error


def test_a_perfect_texture_has_hardly_any_error_whatever_the_exposure(drawn_face, view):
    error = only(drawn_face, view)
    assert error.view == "0"
    assert error.psnr > 38
    darker = View("0", view.image * np.float32((0.5, 0.7, 0.9)), view.camera)
    assert only(drawn_face, darker).psnr > 38


def test_a_wrong_texture_has_the_error_it_has(drawn_face, view):
    color = drawn_face.texture.color.copy()
    color[::2] += 0.1
    color[1::2] -= 0.1
    texture = Texture(np.repeat(np.repeat(color, 4, 0), 4, 1), np.ones((384, 384), bool))
    assert 18 < only(drawn_face, view, texture).psnr < 24


def test_what_no_photo_shows_is_not_compared(drawn_face, view):
    nothing = Texture(drawn_face.texture.color, np.zeros_like(drawn_face.texture.seen))
    assert np.isnan(only(drawn_face, view, nothing).psnr)


def test_the_inside_of_the_surface_is_not_compared(drawn_face, view):
    rotation, center = drawn_face.fit.rotation, drawn_face.base.vertices.mean(0)
    R, t = look_at(center - rotation @ (0, 0, 600), center, rotation[:, 1])
    behind = Camera(view.camera.K, R, t, 300, 400)
    assert np.isnan(only(drawn_face, View("0", view.image, behind)).psnr)


def test_the_picture_is_photo_rendering_difference(drawn_face, view):
    picture = only(drawn_face, view).picture
    width = picture.shape[1] // 3
    photo, rendering = picture[:, :width].astype(int), picture[:, width : 2 * width].astype(int)
    assert picture.shape[0] == 300
    assert np.abs(photo - rendering).mean() < 2


def test_a_face_beside_the_picture_does_no_harm(drawn_face, view):
    away = Camera(view.camera.K, view.camera.R, view.camera.t + (5000, 0, 0), 300, 400)
    assert np.isnan(only(drawn_face, View("0", view.image, away)).psnr)
