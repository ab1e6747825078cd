"""Lenses: OpenCV's formula, and the way back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesoface.geometry.camera import OpenCVLens, invert

LENSES = {
    "four": (-0.2, 0.05, 0.001, -0.002),
    "five": (-0.08, 0.05, 0.0005, -0.0004, 0.01),
    "rational": (0.1, -0.05, 0.001, 0.002, 0.01, 0.12, -0.03, 0.002),
    "thin prism": (0.1, -0.05, 0.001, 0.002, 0.01, 0.12, -0.03, 0.002, 0.003, -0.001, 0.002, 0.001),
    "tilted": (0.1, -0.05, 0.001, 0.002, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, -0.03),
    "phone": (0.16672, -0.12968, 0.06086, 0.02629),
}


@pytest.mark.parametrize("name", LENSES)
def test_distortion_is_opencvs(name):
    xy = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    rays = np.column_stack([xy, np.ones(len(xy))])
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(LENSES[name]))
    np.testing.assert_allclose(OpenCVLens(LENSES[name]).distort(xy), expected[:, 0], atol=1e-12)


@pytest.mark.parametrize("name", LENSES)
@settings(max_examples=20, deadline=None)
@given(x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5))
def test_undistort_inverts_distort(name, x, y):
    lens, xy = OpenCVLens(LENSES[name]), np.array([[x, y]])
    np.testing.assert_allclose(lens.undistort(lens.distort(xy)), xy, atol=1e-9)


def test_no_inverse_beyond_the_fold_is_nan():
    # x (1 - x²/2) has its greatest value 0.544 at x = 0.816: nothing is imaged farther out.
    lens = OpenCVLens((-0.5, 0.0, 0.0, 0.0))
    out = lens.undistort(np.array([[0.5, 0.0], [0.56, 0.0], [0.0, 0.9]]))
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1:]).all()
    assert 0.5 < out[0, 0] < 0.816


def test_no_points_are_fine():
    lens = OpenCVLens(LENSES["five"])
    assert lens.distort(np.zeros((0, 2))).shape == (0, 2)
    assert lens.undistort(np.zeros((0, 2))).shape == (0, 2)


def test_invert_any_smooth_map():
    twist = lambda p: p @ np.array([[1.1, 0.2], [-0.2, 0.9]]) + 0.05 * np.sin(p)  # noqa: E731
    xy = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    np.testing.assert_allclose(twist(invert(twist, xy)), xy, atol=1e-9)


@pytest.mark.parametrize("coefficients", [(), (0.1,), (0.1,) * 6, (0.1, 0.1, 0.0, np.nan), (np.inf, 0, 0, 0)])
def test_wrong_coefficients_are_refused(coefficients):
    with pytest.raises(ValueError, match="coefficient"):
        OpenCVLens(coefficients)
