"""Photos on their way into a capture: upright, with their masks, cameras and EXIF data, or refused."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from mesoface.calibration.photos import (
    Photo,
    cameras_of,
    extract_frames,
    find_photos,
    is_video,
    read_exif_camera,
    read_pixels,
    take_over,
)
from mesoface.errors import CaptureError

BASE = ExifTags.Base


def _picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


def _folder(tmp_path: Path, name: str = "out") -> Path:
    (folder := tmp_path / name).mkdir()
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
    (picture := _picture()).save(tmp_path / "a.png", exif=exif)
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
    heic = r"1 HEIC files \(IMG_1.HEIC, …\), which cannot be read here — convert"
    with pytest.raises(CaptureError, match=heic):
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


def _photo(name: str, size: tuple[int, int] = (30, 40), device: str = "") -> Photo:
    return Photo(name, Path(name), *size, device)


def test_photos_of_one_size_and_device_share_a_camera() -> None:
    photos = [_photo("a"), _photo("b"), _photo("c", (40, 30)), _photo("d", device="other")]
    assert cameras_of(photos, "auto").tolist() == [0, 0, 1, 2]
    assert cameras_of(photos, "each").tolist() == [0, 1, 2, 3]
    assert cameras_of(photos[:2] + photos[3:], "shared").tolist() == [0, 0, 0]


def test_a_photo_held_the_other_way_cannot_share() -> None:
    with pytest.raises(CaptureError, match="b: is 40×30, but a 30×40"):
        cameras_of([_photo("a"), _photo("b", (40, 30))], "shared")


def _tagged(path: Path, outer: dict, inner: dict, size: tuple[int, int] = (300, 400)) -> Path:
    exif = Image.Exif()
    for tag, value in outer.items():
        exif[tag] = value
    exif.get_ifd(ExifTags.IFD.Exif).update(inner)
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_the_35_mm_equivalent_compares_diagonals(tmp_path: Path) -> None:
    path = _tagged(
        tmp_path / "a.jpg", {BASE.Make: "Maker", BASE.Model: "One"}, {BASE.FocalLengthIn35mmFilm: 26}
    )
    focal = pytest.approx(26 / math.hypot(36, 24) * 500)
    assert read_exif_camera(path, 300, 400) == ("Maker One", focal)


def test_the_sensors_resolution_is_of_the_picture_as_it_was_taken(tmp_path: Path) -> None:
    inner = {
        BASE.FocalLength: 50.0,
        BASE.FocalPlaneXResolution: 4000.0,  # an inch: 25.4 mm
        BASE.FocalPlaneResolutionUnit: 2,
        BASE.ExifImageWidth: 3000,
    }
    _, focal = read_exif_camera(_tagged(tmp_path / "a.jpg", {}, inner), 300, 400)
    assert focal == pytest.approx(50 * 4000 / 25.4 / 10)


def test_the_zoom_is_part_of_the_camera(tmp_path: Path) -> None:
    one = _tagged(tmp_path / "1.jpg", {BASE.Model: "Zoom"}, {BASE.FocalLength: 24.0})
    two = _tagged(tmp_path / "2.jpg", {BASE.Model: "Zoom"}, {BASE.FocalLength: 70.0})
    assert read_exif_camera(one, 300, 400)[0] != read_exif_camera(two, 300, 400)[0]


@pytest.mark.parametrize("equivalent", [0, 65535])
def test_impossible_focal_lengths_count_for_nothing(tmp_path: Path, equivalent: int) -> None:
    path = _tagged(tmp_path / "a.jpg", {}, {BASE.FocalLengthIn35mmFilm: equivalent})
    assert read_exif_camera(path, 300, 400)[1] is None


def test_photos_without_or_with_damaged_exif_data_say_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (30, 40)).save(tmp_path / "plain.png")
    path = _tagged(tmp_path / "a.jpg", {BASE.Model: "One"}, {BASE.FocalLengthIn35mmFilm: 26})
    damaged = path.read_bytes().replace(b"Exif\0\0MM", b"Exif\0\0XX").replace(b"Exif\0\0II", b"Exif\0\0XX")
    (tmp_path / "damaged.jpg").write_bytes(damaged)
    for name in ("plain.png", "damaged.jpg"):
        assert read_exif_camera(tmp_path / name, 30, 40) == ("", None)


def _video(path: Path, frames: int, sharp_every: int = 3) -> Path:
    """A pattern that moves to the right; only each ``sharp_every``-th frame is not blurred."""
    pattern = np.random.default_rng(0).integers(0, 255, (96, 400, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    for number in range(frames):
        frame = pattern[:, number : number + 128]
        blur = number % sharp_every != sharp_every - 1
        writer.write(cv2.GaussianBlur(frame, (0, 0), 3) if blur else np.ascontiguousarray(frame))
    writer.release()
    return path


def test_the_sharp_frames_are_taken_in_order(tmp_path: Path) -> None:
    video = _video(tmp_path / "walk.avi", 90)
    files = extract_frames(video, tmp_path, 10)
    numbers = [int(path.stem.split("_")[1]) for path in files]
    assert len(files) == 30
    assert numbers == sorted(numbers)
    assert all(number % 3 == 2 for number in numbers)
    assert cv2.imread(str(files[0])).shape == (96, 128, 3)


def test_a_short_video_gives_all_its_frames(tmp_path: Path) -> None:
    assert len(extract_frames(_video(tmp_path / "short.avi", 5), tmp_path, 30)) == 5


def test_two_frames_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="2 readable frames, at least three"):
        extract_frames(_video(tmp_path / "two.avi", 2), tmp_path, 30)


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(200), bytes(range(256)) * 8])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    assert is_video(tmp_path / "bad.mp4")
    with pytest.raises(CaptureError, match=r"bad\.mp4: (cannot be read as a video|claims|has 0 readable)"):
        extract_frames(tmp_path / "bad.mp4", tmp_path, 30)


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    video = _video(tmp_path / "cut.avi", 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert 3 <= len(extract_frames(video, tmp_path, 10)) < 30
