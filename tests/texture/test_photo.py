"""Photos at the size they have on disk."""

from __future__ import annotations

import numpy as np
import pytest

import mesoface
from mesoface.errors import CaptureError
from mesoface.texture.plan import face_photo, look_up, pixel_map
from mesoface.uvd.maps import texel_centers


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


def test_the_file_is_read_again_when_the_texture_can_show_it(loaded, points):
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
    from dataclasses import replace

    view = loaded[0].views[0]
    moved = replace(view, camera=view.camera.moved(np.eye(3), (0, 3, 0)))
    photo, camera = face_photo(moved, points.reshape(-1, 3) + (0, 3, 0), texel_mm=0.7)
    before, old = face_photo(view, points.reshape(-1, 3), texel_mm=0.7)
    here, there = pixel_map(points + np.float32((0, 3, 0)), camera), pixel_map(points, old)
    np.testing.assert_allclose(look_up(photo, here), look_up(before, there), atol=1e-3)


def test_a_coarse_texture_needs_no_file(loaded, points):
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


def test_minifying_does_not_alias(cap):
    """Every texel of a coarse texture is a mean, not a sample: fine waves vanish in it."""
    view = cap.photograph(0)
    points = cap.skin.space.position[cap.skin.space.valid]
    photo, camera = face_photo(view, points, texel_mm=6.0)
    assert camera.width < view.camera.width / 2
    position = cap.skin.resized(24).space.position
    seen = look_up(photo, pixel_map(position, camera))[..., 2]
    inner = cap.inner(24, margin=0.1)
    assert np.std(seen[inner]) < 0.3 * np.std(cap.truth(256)[..., 2][cap.inner(256)])
