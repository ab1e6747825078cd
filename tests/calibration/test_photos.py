"""Photos on their way into a capture: upright, with their masks, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mesoface.calibration.photos import find_photos, read_pixels, take_over
from mesoface.errors import CaptureError


def _picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


def _folder(tmp_path: Path, name: str = "out") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_upright_photos_are_copied_byte_for_byte(tmp_path: Path) -> None:
    _picture().save(tmp_path / "a.jpg")
    photos, notes = take_over([tmp_path / "a.jpg"], _folder(tmp_path))
    assert photos[0].path.read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert photos[0].size == (40, 30)
    assert notes == []


@pytest.mark.parametrize(
    ("orientation", "turns", "size"), [(3, 2, (40, 30)), (6, 3, (30, 40)), (8, 1, (30, 40))]
)
def test_turned_photos_are_written_upright_without_a_tag(
    tmp_path: Path, orientation: int, turns: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = _picture()
    picture.save(tmp_path / "a.png", exif=exif)
    (photo,), notes = take_over([tmp_path / "a.png"], _folder(tmp_path))
    assert photo.size == size
    assert np.array_equal(read_pixels(photo), np.rot90(np.asarray(picture), turns))
    assert 0x0112 not in Image.open(photo.path).getexif()
    assert "turned upright" in notes[0]


def test_masks_come_along_and_must_fit(tmp_path: Path) -> None:
    shoot = _folder(tmp_path, "shoot")
    (shoot / "masks").mkdir()
    _picture().save(shoot / "a.png")
    Image.new("L", (40, 30), 255).save(shoot / "masks" / "a.png.png")
    (photo,), _ = take_over([shoot / "a.png"], _folder(tmp_path))
    assert photo.mask_path is not None
    assert photo.mask_path.parent.name == "masks"
    Image.new("L", (20, 30), 255).save(shoot / "masks" / "a.png.png")
    with pytest.raises(CaptureError, match="the mask is 20×30, but its photo 40×30"):
        take_over([shoot / "a.png"], _folder(tmp_path, "again"))


def test_photos_are_found_in_the_folder_or_in_images(tmp_path: Path) -> None:
    images = _folder(tmp_path, "images")
    for name in ("b.jpg", "a.jpg", ".hidden.jpg"):
        _picture().save(images / name)
    assert [path.name for path in find_photos(tmp_path)] == ["a.jpg", "b.jpg"]
    assert find_photos(images) == find_photos(tmp_path)


def test_folders_without_photos_say_what_is_in_them(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="does not exist"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(CaptureError, match="holds no photos"):
        find_photos(tmp_path)
    (tmp_path / "IMG_1.HEIC").write_bytes(b"heic")
    with pytest.raises(
        CaptureError, match=r"1 HEIC files \(IMG_1.HEIC, …\), which cannot be read here — convert"
    ):
        find_photos(tmp_path)
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(CaptureError, match="neither a folder nor a video"):
        find_photos(tmp_path / "notes.txt")


def test_a_damaged_photo_is_named(tmp_path: Path) -> None:
    _picture(size=(200, 200)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2000])
    (photo,), _ = take_over([tmp_path / "a.jpg"], _folder(tmp_path))
    with pytest.raises(CaptureError, match=r"a\.jpg: the image is truncated or corrupt"):
        read_pixels(photo)
