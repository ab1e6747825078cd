"""Photos at the scale of the texels: read again where the file holds more, and without the lens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mesoface
from mesoface.errors import CaptureError
from mesoface.geometry.camera import OpenCVLens
from mesoface.texture.plan import look_up, pixel_map
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.photos import face_photo, file_camera, pixel_footprint, straighten


@pytest.fixture
def points():
    """A patch of the drawn ball's front, (60, 60, 3) mm."""
    xy = 40 * (texel_centers(60) - 0.5)
    return np.dstack([xy, np.sqrt(80**2 - (xy**2).sum(-1))]).astype(np.float32)


@pytest.fixture
def loaded(capture_folder):
    """Two loads of a capture with a lens: scaled down, and as it is."""
    folder = capture_folder(views=2, size=(192, 256), arc=30)
    return mesoface.load_capture(folder, max_size=64), mesoface.load_capture(folder)


def test_the_file_is_read_again_when_texels_can_show_it(loaded, points):
    small, whole = loaded
    assert whole.views[0].full_size is None
    for view, reference in zip(small.views, whole.views, strict=True):
        photo, camera = face_photo(view, points.reshape(-1, 3), texel_mm=0.7)
        assert photo.dtype == np.float32
        assert camera.K[0, 0] == pytest.approx(reference.camera.K[0, 0], rel=0.02)
        seen = look_up(photo, pixel_map(points, camera))
        expected = look_up(reference.image, pixel_map(points, reference.camera))
        assert np.abs(seen - expected).mean() < 0.01
        coarse = look_up(view.image, pixel_map(points, view.camera))
        assert np.abs(coarse - expected).mean() > 2 * np.abs(seen - expected).mean()


def test_the_camera_s_corrected_pose_is_kept(loaded, points):
    """What was found out about the rig since loading must not be lost with the file."""
    view = loaded[0].views[0]
    moved = replace(view, camera=view.camera.moved(np.eye(3), (0, 3, 0)))
    photo, camera = face_photo(moved, points.reshape(-1, 3) + (0, 3, 0), texel_mm=0.7)
    before, old = face_photo(view, points.reshape(-1, 3), texel_mm=0.7)
    here, there = pixel_map(points + np.float32((0, 3, 0)), camera), pixel_map(points, old)
    np.testing.assert_allclose(look_up(photo, here), look_up(before, there), atol=1e-3)


def test_coarse_texels_need_no_file(loaded, points):
    view = loaded[0].views[0]
    view.image_path.unlink()
    photo, camera = face_photo(view, points.reshape(-1, 3), texel_mm=20.0)
    assert photo.shape == (camera.height, camera.width, 3)


def test_a_file_that_is_gone_is_named(loaded, points):
    view = loaded[0].views[0]
    view.image_path.unlink()
    with pytest.raises(CaptureError, match="missing"):
        face_photo(view, points.reshape(-1, 3), texel_mm=0.5)


def test_a_file_that_was_replaced_is_named(loaded, points):
    from PIL import Image

    view = loaded[0].views[0]
    Image.new("RGB", (50, 50)).save(view.image_path)
    with pytest.raises(CaptureError, match="calibrated at"):
        face_photo(view, points.reshape(-1, 3), texel_mm=0.5)


def test_a_file_s_camera_has_its_pixels_and_the_view_s_pose(loaded):
    small, whole = loaded
    view = replace(small.views[0], camera=small.views[0].camera.moved(np.eye(3), (0, 3, 0)))
    camera = file_camera(view)
    assert (camera.width, camera.height) == (view.full_size.camera.width, view.full_size.camera.height)
    assert (camera.t == view.camera.t).all()
    assert file_camera(whole.views[0]) is whole.views[0].camera
    assert pixel_footprint([camera], np.zeros(3))[0] < 0.5 * pixel_footprint([view.camera], np.zeros(3))[0]


def test_straightened_pixels_are_where_the_lens_showed_them(loaded, points):
    """A photo whose colours are its pixels' places: what a pinhole camera shows there, a lens showed here."""
    camera = replace(loaded[1].views[0].camera, lens=OpenCVLens((-3.0, 0.3, 0.05, -0.05)))
    places = camera.pixel_grid().astype(np.float32) / 256
    pixels = np.dstack([places, np.zeros(places.shape[:2], np.float32)])
    face = points.reshape(-1, 3)
    straight, pinhole = straighten(pixels, camera, face)
    assert pinhole.lens is None
    assert straight.shape == (pinhole.height, pinhole.width, 3)
    seen = look_up(straight, pixel_map(points, pinhole))[..., :2] * 256
    expected = camera.project(points)[0]
    assert np.abs(seen - expected).max() < 0.1
    assert np.abs(replace(camera, lens=None).project(points)[0] - expected).max() > 1.0


def test_pixels_without_a_lens_stay_as_they_are(loaded, points):
    view = loaded[1].views[0]
    pixels, camera = straighten(view.image, view.camera, points.reshape(-1, 3))
    assert pixels is view.image
    assert camera is view.camera
