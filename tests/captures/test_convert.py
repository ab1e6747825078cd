"""Captures in other formats: photos copied or undistorted; what cannot be converted leaves nothing behind."""

import cv2
import numpy as np
import pytest
from PIL import Image

import mesoface
from mesoface.captures.capture import ViewSource
from mesoface.captures.convert import convert
from mesoface.captures.formats import WRITERS, read_source
from mesoface.captures.formats.plain import write_capture_json
from mesoface.errors import CaptureError, MesofaceError


@pytest.fixture
def capture(rig, tmp_path):
    """A capture with masks, a lens, a stated unit, and names that are no file names."""
    folder = tmp_path / "capture"
    folder.mkdir()
    views = []
    for i, (photo, mask, camera) in enumerate(zip(rig.photos, rig.masks, rig.cameras, strict=True)):
        Image.fromarray(photo).save(folder / f"{i}.jpg", quality=90)
        Image.fromarray(mask).save(folder / f"{i}.mask.bmp")
        views.append(ViewSource(f"left/{i}", folder / f"{i}.jpg", camera, folder / f"{i}.mask.bmp"))
    write_capture_json(folder, views, mm_per_unit=1.0)
    return folder


@pytest.mark.parametrize("to", WRITERS)
def test_round_trip(capture, tmp_path, to, points):
    before = read_source(capture)
    done = convert(capture, tmp_path / "there", to)
    assert (done.path, done.format, done.views) == (tmp_path / "there", to, 3)
    there = read_source(tmp_path / "there")
    assert there.format == to
    assert there.notes == () or to == "metashape"
    convert(tmp_path / "there", tmp_path / "back", "plain")
    back = read_source(tmp_path / "back")
    scale = (back.mm_per_unit or 1.0) / 1.0
    for a, b in zip(before.views, back.views, strict=True):
        seen, expected = b.camera.project(points / scale)[0], a.camera.project(points)[0]
        np.testing.assert_allclose(seen, expected, atol=1e-5)
        assert b.image_path.read_bytes() == a.image_path.read_bytes()
        assert (b.mask_path is not None) == (WRITERS[to].MASK is not None)


REAL = [(name, to) for name in ("captures/lps", "captures/phone") for to in WRITERS]


def test_openmvg_cannot_represent_the_phone_s_pixels(shared, tmp_path):
    with pytest.raises(CaptureError, match=r"not square .* openmvg cannot represent"):
        convert(shared("captures/phone"), tmp_path / "there", "openmvg")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "to"), [way for way in REAL if way != ("captures/phone", "openmvg")])
def test_a_real_capture_is_the_same_through_any_door(shared, tmp_path, name, to, points):
    """The same photos and the same rays make the same face: no need to reconstruct it nine times."""
    convert(shared(name), tmp_path / "there", to)
    expected = {view.name: view for view in mesoface.load_capture(shared(name)).views}
    there = mesoface.load_capture(tmp_path / "there").views
    assert len(there) == len(expected)
    looked_at = np.mean([3 * view.camera.forward + view.camera.center for view in expected.values()], 0)
    extent = np.linalg.norm(next(iter(expected.values())).camera.center - looked_at)
    points = looked_at + points / 400 * extent
    for view, same in zip(there, expected.values(), strict=True):
        assert np.array_equal(view.image, same.image)
        seen, pixels = (each.camera.project(points)[0] for each in (view, same))
        np.testing.assert_allclose(seen, pixels, atol=1e-5)


@pytest.mark.parametrize("to", ["colmap", "facescape", "plain"])
def test_undistorted_photos_are_those_that_loading_makes(capture, tmp_path, to):
    convert(capture, tmp_path / "there", to, undistort=True)
    expected, got = mesoface.load_capture(capture), mesoface.load_capture(tmp_path / "there")
    for a, b in zip(expected.views, got.views, strict=True):
        np.testing.assert_allclose(b.camera.P, a.camera.P, atol=1e-6 * np.abs(a.camera.P).max())
        assert np.abs(a.image - b.image).max() < 0.02  # eight bits
        if to != "facescape":
            assert (a.mask == b.mask).mean() > 0.999
    assert all(view.camera.lens is None for view in read_source(tmp_path / "there").views)


def test_what_the_format_cannot_represent_is_noted(capture, tmp_path):
    notes = convert(capture, tmp_path / "there", "facescape").notes
    assert "facescape has no masks: they were left out" in notes
    assert "views were renamed: left/0 to 0, left/1 to 1, left/2 to 2" in notes
    notes = convert(capture, tmp_path / "other", "colmap").notes
    assert "colmap cannot state the unit: pass --scale 1 to mesoface" in notes


def test_a_lens_that_cannot_be_represented_is_refused_and_nothing_is_left(capture, tmp_path):
    file = capture / "capture.json"
    file.write_text(file.read_text().replace("0.01\n", "0.01,0.1,0.1,0.1\n"))
    with pytest.raises(
        CaptureError, match=r"view left/0: its lens .* which facescape cannot represent"
    ) as error:
        convert(capture, tmp_path / "there", "facescape")
    assert error.value.remedy == "pass --undistort"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["capture"]
    assert convert(capture, tmp_path / "there", "facescape", undistort=True).views == 3


def test_a_photo_that_exif_turns_needs_its_pixels_written(capture, tmp_path):
    image = Image.open(capture / "0.jpg")
    exif = image.getexif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(capture / "0.jpg", exif=exif, quality=95)
    with pytest.raises(CaptureError, match=r"EXIF orientation 6.* — pass --undistort"):
        convert(capture, tmp_path / "there", "colmap")
    convert(capture, tmp_path / "there", "colmap", undistort=True)
    a, b = mesoface.load_capture(capture).views[0], mesoface.load_capture(tmp_path / "there").views[0]
    assert np.abs(a.image - b.image).max() < 0.02


def test_sixteen_bits_and_an_alpha_channel_are_kept(rig, tmp_path):
    folder = tmp_path / "capture"
    folder.mkdir()
    views = []
    for i, (photo, mask, camera) in enumerate(zip(rig.photos, rig.masks, rig.cameras, strict=True)):
        alpha = mask.astype(np.uint16) * 65535
        cv2.imwrite(str(folder / f"{i}.png"), np.dstack([photo[..., ::-1].astype(np.uint16) * 257, alpha]))
        views.append(ViewSource(str(i), folder / f"{i}.png", camera))
    write_capture_json(folder, views)
    convert(folder, tmp_path / "there", "nerfstudio", undistort=True)
    stored = cv2.imread(str(tmp_path / "there/images/0.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored.shape[2] == 4
    a, b = mesoface.load_capture(folder).views[0], mesoface.load_capture(tmp_path / "there").views[0]
    assert np.abs(a.image - b.image).max() < 1e-4
    assert (a.mask == b.mask).mean() > 0.999


@pytest.mark.parametrize("target", ["capture", "capture/inside", "."])
def test_the_capture_itself_is_never_written_over(capture, tmp_path, target):
    with pytest.raises(MesofaceError, match="lies in the capture to be converted, or contains it"):
        convert(capture, tmp_path / target, "colmap", overwrite=True)
    assert (capture / "capture.json").is_file()


def test_bad_targets_and_sources(capture, tmp_path):
    with pytest.raises(MesofaceError, match=r"no format 'usd' to write .* plain, facescape"):
        convert(capture, tmp_path / "there", "usd")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(MesofaceError, match="exists already"):
        convert(capture, tmp_path / "full", "colmap")
    (capture / "1.mask.bmp").unlink()
    with pytest.raises(CaptureError, match=r"1\.mask\.bmp: the image is missing"):
        convert(capture, tmp_path / "there", "colmap")
    (capture / "1.jpg").unlink()
    with pytest.raises(CaptureError, match=r"1\.jpg: the image is missing"):
        convert(capture, tmp_path / "there", "colmap")
    assert not (tmp_path / "there").exists()
