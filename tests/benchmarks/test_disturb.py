"""Disturbed captures are what they say, the same every time, and can be loaded."""

from __future__ import annotations

import numpy as np
import pytest
from disturb import SWAPPED, WRONG, change_photos, halve, jitter_cameras, replace_photo, swap_cameras
from PIL import Image

from mesoface.captures.formats import facescape

POINT = (10.0, -20.0, 60.0)


def disturbed(disturb, capture, tmp_path, name="out"):
    """The views of the disturbed capture."""
    out = tmp_path / name
    out.mkdir()
    disturb(capture, out)
    return facescape.read(out).views


def pixels(views):
    return np.array([view.camera.project(POINT)[0] for view in views])


def photo(view):
    with Image.open(view.image_path) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def test_jitter_moves_every_camera_by_so_many_pixels(sample_capture, tmp_path):
    before = pixels(facescape.read(sample_capture).views)
    half = pixels(disturbed(jitter_cameras(0.5), sample_capture, tmp_path, "half")) - before
    whole = pixels(disturbed(jitter_cameras(1.0), sample_capture, tmp_path, "whole")) - before
    assert (np.abs(half).max(1) > 0.01).all()
    assert np.std(whole) == pytest.approx(1.0, rel=0.5)
    np.testing.assert_allclose(whole, 2 * half, atol=0.02)  # the same directions


def test_jitter_is_the_same_every_time(sample_capture, tmp_path):
    first, second = (disturbed(jitter_cameras(0.5), sample_capture, tmp_path, name) for name in "ab")
    np.testing.assert_array_equal(pixels(first), pixels(second))


def test_swapped_cameras(sample_capture, tmp_path):
    before = {view.name: view.camera for view in facescape.read(sample_capture).views}
    after = {view.name: view.camera for view in disturbed(swap_cameras, sample_capture, tmp_path)}
    a, b = SWAPPED
    np.testing.assert_array_equal(after[a].P, before[b].P)
    np.testing.assert_array_equal(after[b].P, before[a].P)


def test_half_the_resolution_shows_the_same_things(sample_capture, tmp_path):
    whole, half = facescape.read(sample_capture).views, disturbed(halve, sample_capture, tmp_path)
    assert photo(half[0]).shape[:2] == (whole[0].camera.height // 2, whole[0].camera.width // 2)
    # An image's edge is at -0.5.
    np.testing.assert_allclose(pixels(half) + 0.5, (pixels(whole) + 0.5) / 2, atol=1e-6)


def test_changed_photos_get_their_view_and_chance(sample_capture, tmp_path):
    seen = []

    def change(image, view, rng):
        seen.append((view, rng.random()))
        return np.full_like(image, view / 10)

    views = disturbed(change_photos(change), sample_capture, tmp_path)
    assert [view for view, _ in seen] == list(range(8))
    assert len({number for _, number in seen}) == 8
    assert [photo(view).max() for view in views] == [round(25.5 * k) for k in range(8)]


def test_jpeg_is_written_where_a_quality_is_given(sample_capture, tmp_path):
    views = disturbed(change_photos(lambda image, *_: image, jpeg_quality=40), sample_capture, tmp_path)
    assert {view.image_path.suffix for view in views} == {".jpg"}
    small = sum(view.image_path.stat().st_size for view in views)
    assert small < 0.5 * sum(view.image_path.stat().st_size for view in facescape.read(sample_capture).views)


def test_only_the_wrong_photo_is_replaced(sample_capture, tmp_path):
    views = disturbed(
        replace_photo(lambda true: Image.new("RGB", true.size, "red")), sample_capture, tmp_path
    )
    for view, original in zip(views, facescape.read(sample_capture).views, strict=True):
        assert np.array_equal(photo(view), photo(original)) == (view.name != WRONG), view.name
