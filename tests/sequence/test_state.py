"""What a frame hands on survives the disk bit for bit, and damage is named."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mesoface.captures.capture import Capture, View
from mesoface.errors import CaptureError, MesofaceError
from mesoface.geometry.camera import Camera
from mesoface.sequence.state import TRACK, Track, read_track, write_track


@pytest.fixture(scope="module")
def track(make_track):
    track = make_track(np.random.default_rng(0).random)
    track.landmarks[470] = np.nan
    return track


def test_round_trip(track, tmp_path):
    write_track(tmp_path, track)
    again = read_track(tmp_path)
    for field in fields(Track):
        ours, theirs = getattr(track, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype, field.name


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"position": np.zeros((3, 3, 3), np.float32)}, "position"),
        ({"rotations": np.zeros((1, 3, 3))}, "rotations"),
        ({"translations": np.full((2, 3), np.inf)}, "finite"),
        ({"landmarks": np.zeros((4, 3))}, "landmarks"),
        ({"views": np.array([1, 2])}, "names of views"),
    ],
)
def test_damage_is_named(track, tmp_path, changed, said):
    write_track(tmp_path, replace(track, **changed))
    with pytest.raises(MesofaceError, match=said) as caught:
        read_track(tmp_path)
    assert caught.value.path == tmp_path / TRACK


def test_a_missing_or_torn_file_is_one_clear_error(track, tmp_path):
    with pytest.raises(MesofaceError):
        read_track(tmp_path)
    write_track(tmp_path, track)
    file = tmp_path / TRACK
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(MesofaceError):
        read_track(tmp_path)


def capture_of(names):
    camera = Camera(np.diag([50.0, 50.0, 1.0]), np.eye(3), np.zeros(3), 8, 6)
    return Capture(tuple(View(name, np.zeros((6, 8, 3), np.float32), camera) for name in names))


def test_the_next_frame_is_seen_by_this_frame_s_cameras(track):
    seen = track.seen_by(capture_of(["right", "other", "left"]))
    assert seen.names == ("left", "right")
    for view, R, t in zip(seen.views, track.rotations, track.translations, strict=True):
        np.testing.assert_array_equal(view.camera.R, R)
        np.testing.assert_array_equal(view.camera.t, t)


def test_a_missing_view_is_named(track):
    with pytest.raises(CaptureError, match="right"):
        track.seen_by(capture_of(["left", "other"]))
