"""calibrate, and reconstruct --calibrate: what they refuse, and what they point to."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image


def test_help_says_how_to_take_the_photos_and_what_is_next(command):
    run = command("calibrate", "--help")
    assert run.code == 0
    assert "15° apart" in run.out
    assert "mesoface reconstruct" in run.out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--method", "magic", "features"), ("--cameras", "both", "shared"), ("--max-photos", "2", "3")],
)
def test_options_out_of_range_name_what_is_possible(refused, tmp_path, option, value, said):
    arguments = [tmp_path, "--out", tmp_path / "shoot", option, value]
    assert said in refused(option.strip("-"), "calibrate", *arguments)


def test_one_photo_is_refused_and_nothing_is_written(refused, sample_capture, tmp_path, place):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copyfile(sample_capture / "3.jpg", photos / "3.jpg")
    assert "at least 3 are needed" in refused(photos, "calibrate", photos, "--out", place / "shoot")
    assert not (place / "shoot").exists()


def test_a_broken_video_is_refused(refused, tmp_path, place):
    (tmp_path / "walk.mp4").write_bytes(b"no video")
    assert "walk.mp4: cannot be read as a video" in refused(
        "walk.mp4", "calibrate", tmp_path / "walk.mp4", "--out", place / "shoot"
    )


def test_reconstruct_points_photos_without_cameras_to_calibrate(refused, tmp_path, place):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 40)).save(photos / "a.jpg")
    line = refused(photos, "reconstruct", photos, "--out", place / "face")
    assert "mesoface calibrate PHOTOS --out CAPTURE" in line
    assert "--calibrate" in line


def test_photos_with_cameras_are_not_calibrated_again(refused, sample_capture, place):
    line = refused(sample_capture, "reconstruct", sample_capture, "--out", place / "face", "--calibrate")
    assert "has cameras already (format facescape) — leave out --calibrate" in line
