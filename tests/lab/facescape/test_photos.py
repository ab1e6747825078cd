"""Photos scaled and undistorted, in their own frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.formats import facescape
from mesoface.errors import CaptureError
from mesoface.lab.facescape.contents import prepared_photo, readable_views

BARREL, PINCUSHION = (-0.25, 0.05, 0.001, -0.002, 0.0), (0.8, 0.05, 0.001, -0.002, 0.0)


@pytest.fixture
def views(drawn_rig, tmp_path: Path):
    """``views(lens)`` → the drawn rig's views on disk, and its photos through ideal cameras."""

    def make(lens):
        rig = drawn_rig(3, lens=lens, size=(240, 320))
        facescape.write(tmp_path, rig.photos, rig.cameras, quality=98)
        return facescape.read(tmp_path).views, drawn_rig(3, size=(240, 320)).photos

    return make


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_it_is_what_an_ideal_camera_sees(views, lens):
    sources, ideal = views(lens)
    photo, camera = prepared_photo(sources[0], 320)
    assert camera.lens is None
    np.testing.assert_array_equal(camera.K, sources[0].camera.K)
    inside = (slice(100, -100), slice(60, -60))  # on the ball, whose outline is not smooth
    difference = np.abs(photo[inside].astype(int) - ideal[0][inside])
    assert np.median(difference) <= 2
    assert np.percentile(difference, 99) <= 14


def test_what_no_pixel_saw_is_black(views):
    sources, _ = views(PINCUSHION)
    photo, _ = prepared_photo(sources[0], 320)
    assert (photo[0, 0] == 0).all()
    assert (photo[160, 120] > 0).all()


@pytest.mark.parametrize(("side", "size"), [(160, (120, 160)), (640, (480, 640))])
def test_points_go_with_the_pixels(views, side, size):
    sources, _ = views(None)
    photo, camera = prepared_photo(sources[0], side)
    assert (photo.shape[1], photo.shape[0]) == (camera.width, camera.height) == size
    points = np.random.default_rng(0).normal(0, 40, (20, 3))
    before, after = (c.project(points)[0] for c in (sources[0].camera, camera))
    np.testing.assert_allclose(after, (before + 0.5) * side / 320 - 0.5, atol=1e-9)


def test_a_photo_that_cannot_be_read_is_left_out_and_said(views):
    sources, _ = views(None)
    sources[1].image_path.unlink()
    smaller = replace(sources[2], camera=sources[2].camera.scaled(0.5))
    with pytest.raises(CaptureError, match="calibrated at"):
        prepared_photo(smaller, 320)
    good, notes = readable_views((*sources[:2], smaller), 160)
    assert [view.name for view in good] == ["0"]
    assert [note.split(":")[0] for note in notes] == ["view 1 is left out", "view 2 is left out"]
