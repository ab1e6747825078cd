"""Focal lengths from EXIF data, good and bad."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from mesoface.calibration.photos import read_exif_camera


def _photo(path: Path, outer: dict, inner: dict, size: tuple[int, int] = (300, 400)) -> Path:
    exif = Image.Exif()
    for tag, value in outer.items():
        exif[tag] = value
    exif.get_ifd(ExifTags.IFD.Exif).update(inner)
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_the_35_mm_equivalent_compares_diagonals(tmp_path: Path) -> None:
    base = ExifTags.Base
    path = _photo(
        tmp_path / "a.jpg", {base.Make: "Maker", base.Model: "One"}, {base.FocalLengthIn35mmFilm: 26}
    )
    camera = read_exif_camera(path, 300, 400)
    assert camera.focal == pytest.approx(26 / math.hypot(36, 24) * 500)
    assert camera.device == "Maker One"


def test_the_sensors_resolution_is_of_the_picture_as_it_was_taken(tmp_path: Path) -> None:
    base = ExifTags.Base
    inner = {
        base.FocalLength: 50.0,
        base.FocalPlaneXResolution: 4000.0,  # an inch: 25.4 mm
        base.FocalPlaneResolutionUnit: 2,
        base.ExifImageWidth: 3000,
    }
    camera = read_exif_camera(_photo(tmp_path / "a.jpg", {}, inner), 300, 400)
    assert camera.focal == pytest.approx(50 * 4000 / 25.4 / 10)


def test_the_zoom_is_part_of_the_camera(tmp_path: Path) -> None:
    base = ExifTags.Base
    one = _photo(tmp_path / "1.jpg", {base.Model: "Zoom"}, {base.FocalLength: 24.0})
    two = _photo(tmp_path / "2.jpg", {base.Model: "Zoom"}, {base.FocalLength: 70.0})
    assert read_exif_camera(one, 300, 400).device != read_exif_camera(two, 300, 400).device


@pytest.mark.parametrize("equivalent", [0, 65535])
def test_impossible_focal_lengths_count_for_nothing(tmp_path: Path, equivalent: int) -> None:
    path = _photo(tmp_path / "a.jpg", {}, {ExifTags.Base.FocalLengthIn35mmFilm: equivalent})
    assert read_exif_camera(path, 300, 400).focal is None


def test_photos_without_or_with_damaged_exif_data_say_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (30, 40)).save(tmp_path / "plain.png")
    path = _photo(tmp_path / "a.jpg", {ExifTags.Base.Model: "One"}, {ExifTags.Base.FocalLengthIn35mmFilm: 26})
    damaged = path.read_bytes().replace(b"Exif\0\0MM", b"Exif\0\0XX").replace(b"Exif\0\0II", b"Exif\0\0XX")
    (tmp_path / "damaged.jpg").write_bytes(damaged)
    for name in ("plain.png", "damaged.jpg"):
        camera = read_exif_camera(tmp_path / name, 30, 40)
        assert (camera.device, camera.focal) == ("", None)
