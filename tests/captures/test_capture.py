"""Views and captures in memory."""

from dataclasses import replace

import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.errors import CaptureError
from mesoface.geometry.camera import OpenCVLens


def test_views_know_their_names_and_cameras(make_capture):
    capture = make_capture(3)
    assert len(capture) == 3
    assert capture.names == ("0", "1", "2")
    assert capture.cameras[1] is capture.views[1].camera


def test_select_keeps_the_order_asked_for(make_capture):
    capture = make_capture(4)
    assert capture.select([2, 0]).names == ("2", "0")
    assert capture.select_names(["3", "1"]).names == ("3", "1")


def test_an_unknown_name_is_refused(make_capture):
    with pytest.raises(CaptureError, match=r"no view named 9.*there are: 0, 1, 2, 3"):
        make_capture(4).select_names(["0", "9"])


def test_in_millimetres_scales_the_world_and_not_the_picture(make_capture):
    capture = make_capture(2)
    scaled = capture.in_millimetres(25.0)
    point = np.array([10.0, -20.0, 30.0])
    for before, after in zip(capture.cameras, scaled.cameras, strict=True):
        np.testing.assert_allclose(after.project(25 * point)[0], before.project(point)[0])
    assert scaled.mm_per_unit == 1.0


def test_the_drawn_capture_is_where_its_cameras_say(make_capture):
    """The ball's outline in each picture is where the camera projects the ball's rim."""
    for view in make_capture(3).views:
        pixel, _ = view.camera.project(np.zeros(3))
        centroid = np.argwhere(view.mask).mean(0)[::-1]
        np.testing.assert_allclose(centroid, pixel, atol=0.5)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: {"image": v.image[:-1]},
        lambda v: {"image": v.image.astype(np.float64)},
        lambda v: {"image": v.image[..., 0]},
        lambda v: {"mask": v.mask[:, :-1]},
        lambda v: {"mask": v.mask.astype(np.uint8)},
        lambda v: {"camera": replace(v.camera, lens=OpenCVLens((0.1, 0, 0, 0)))},
    ],
)
def test_a_view_that_does_not_fit_together_is_refused(make_capture, change):
    view = make_capture(2).views[0]
    fields = {"name": view.name, "image": view.image, "camera": view.camera, "mask": view.mask}
    with pytest.raises(ValueError, match=r"must be|undistorted"):
        View(**{**fields, **change(view)})
