"""``cameras.json``: read back as written, found again after a move, refused when damaged."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import mesoface
from mesoface.errors import MesofaceError
from mesoface.results.files import read_cameras, write_cameras


@pytest.fixture
def written(capture_folder, tmp_path):
    """A capture, and the cameras.json of a result beside it."""
    capture = mesoface.load_capture(capture_folder())
    run = tmp_path / "run"
    run.mkdir()
    write_cameras(run / "cameras.json", capture)
    return capture, run / "cameras.json"


def photos(path):
    return [view["photo"] for view in json.loads(path.read_text())["views"]]


def test_cameras_are_read_back_to_the_last_bit(written):
    capture, path = written
    cameras = read_cameras(path)
    assert list(cameras.views) == list(capture.names)
    assert cameras.format == "facescape"
    for camera, original in zip(cameras.views.values(), capture.cameras, strict=True):
        for name in ("K", "R", "t", "width", "height"):
            np.testing.assert_array_equal(getattr(camera, name), getattr(original, name))


def test_the_capture_is_found_again_when_both_were_moved(written, tmp_path):
    _, path = written
    there = tmp_path / "elsewhere"
    for name in ("capture", "run"):
        shutil.copytree(tmp_path / name, there / name)
        shutil.rmtree(tmp_path / name)
    cameras = read_cameras(there / "run" / path.name)
    assert cameras.capture.resolve() == (there / "capture").resolve()
    assert all((there / "run" / photo).is_file() for photo in photos(there / "run" / path.name))


def test_photos_made_in_memory_have_no_place(make_capture, tmp_path):
    write_cameras(tmp_path / "cameras.json", make_capture())
    cameras = read_cameras(tmp_path / "cameras.json")
    assert cameras.capture is None
    assert photos(tmp_path / "cameras.json") == [None] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 9}, "format"),
        ({"unit": "inch"}, "unit"),
        ({"surprise": 1}, "surprise"),
        ({"views": [1]}, r"views\.0"),
    ],
)
def test_other_files_are_refused(written, change, words):
    _, path = written
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MesofaceError, match=words):
        read_cameras(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": [0, 0, 1e999]}, "finite|JSON|number"),
        ({"R": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "rotation"),
        ({"K": [[1, 0], [0, 1]]}, "K"),
        ({"width": 0}, "width"),
        ({"name": "1"}, "same name"),
    ],
)
def test_impossible_cameras_are_refused(written, change, words):
    _, path = written
    file = json.loads(path.read_text())
    file["views"][0] |= change
    path.write_text(json.dumps(file))
    with pytest.raises(MesofaceError, match=words):
        read_cameras(path)


def test_a_missing_or_cut_file_is_named(written):
    _, path = written
    path.write_text(path.read_text()[:100])
    with pytest.raises(MesofaceError, match=r"cameras\.json"):
        read_cameras(path)
    path.unlink()
    with pytest.raises(MesofaceError, match=r"cameras\.json: cannot be read"):
        read_cameras(path)
