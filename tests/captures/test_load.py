"""Loading: pixels are the camera's, and every bad input is refused in one line that names it."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mesoface.captures.formats import WRITERS, facescape
from mesoface.captures.load import load_capture
from mesoface.errors import CaptureError
from mesoface.files.images import read_header, turn_upright
from mesoface.geometry.camera import Camera, OpenCVLens
from tests.captures.conftest import edit_params

LENS = (-0.08, 0.05, 0.0005, -0.0004, 0.0)


@pytest.fixture
def pair(drawn_rig, tmp_path):
    """The drawn rig of a capture of two views without a lens, in tmp_path, whose first photo is missing."""
    rig = drawn_rig(2)
    facescape.write_photos(tmp_path, rig.photos, rig.cameras)
    (tmp_path / "0.jpg").unlink()
    return rig


@pytest.fixture
def folder(capture_folder):
    """The drawn capture of four views, with a lens."""
    return capture_folder()


def refused(folder, words, path=None, **kwargs):
    """Loading fails in one line that has ``words``, names the file and a remedy."""
    with pytest.raises(CaptureError, match=words) as error:
        load_capture(folder, **kwargs)
    assert error.value.path == (path or folder)
    assert error.value.remedy
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- what is loaded


def test_views_are_undistorted_rgb(capture_folder, drawn_rig):
    capture = load_capture(capture_folder())
    assert capture.names == ("0", "1", "2", "3")
    assert capture.format == "facescape"
    for view in capture.views:
        assert view.image.dtype == np.float32
        assert view.image.shape == (view.camera.height, view.camera.width, 3)
        assert view.camera.lens is None
        assert 0 <= view.image.min() < view.image.max() <= 1


def test_undistorted_pixels_are_what_an_ideal_camera_sees(drawn_rig, place, tmp_path):
    """The ball drawn through a lens and undistorted = the ball drawn without one, but for resampling."""
    size = (288, 384)
    bent, straight = drawn_rig(2, size=size, lens=(0.16672, -0.12968, 0.006, 0.0026)), drawn_rig(2, size=size)
    WRITERS["plain"].write(tmp_path, place(bent, tmp_path, "plain", masks=False), None)
    views, rig = load_capture(tmp_path).views, straight
    for view, photo, drawn, camera in zip(views, rig.photos, rig.masks, rig.cameras, strict=True):
        left, top = np.round(camera.K[:2, 2] - view.camera.K[:2, 2]).astype(int)
        np.testing.assert_allclose(camera.K[:2, 2] - view.camera.K[:2, 2], [left, top], atol=1e-9)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + view.camera.width, size[0]), min(top + view.camera.height, size[1])
        ideal = photo[y0:y1, x0:x1].astype(np.float32) / 255
        ours = view.image[y0 - top : y1 - top, x0 - left : x1 - left]
        ball = drawn[y0:y1, x0:x1].astype(np.uint8)
        inner = cv2.erode(ball, np.ones((9, 9)), borderValue=0).astype(bool)  # its rim is drawn without blur
        assert np.abs(ours - ideal)[inner].mean() < 1.5 / 255
        # half a pixel of shift would be plain to see:
        shifted = cv2.warpAffine(ideal, np.float32([[1, 0, 0.5], [0, 1, 0]]), ideal.shape[1::-1])
        assert np.abs(ours - ideal)[inner].mean() < 0.3 * np.abs(shifted - ideal)[inner].mean()


def test_large_photos_are_scaled_down_with_their_camera(capture_folder):
    folder = capture_folder(lens=None)
    full, small = load_capture(folder), load_capture(folder, max_size=64)
    assert small.views[0].image.shape == (64, 48, 3)
    point = np.array([10.0, -20.0, 60.0])
    for a, b in zip(full.cameras, small.cameras, strict=True):
        np.testing.assert_allclose(b.project(point)[0] + 0.5, (a.project(point)[0] + 0.5) / 2, atol=1e-9)
    mean = full.views[0].image.reshape(64, 2, 48, 2, 3).mean((1, 3))
    np.testing.assert_allclose(small.views[0].image, mean, atol=1 / 255)


def test_named_views_in_the_order_asked_for(folder):
    (folder / "1.jpg").write_bytes(b"broken")  # a view that is not asked for is not looked at
    assert load_capture(folder, names=["3", "0"]).names == ("3", "0")
    refused(folder, r"no view named 7 — there are: 0, 1, 2, 3", names=["0", "7"])


def test_progress_is_told(capture_folder):
    calls = []
    load_capture(capture_folder(), progress=lambda *call: calls.append(call))
    assert calls[0] == ("Reading photos", 0, 4)
    assert calls[-1] == ("Reading photos", 4, 4)


def test_notes_of_the_format_are_kept(folder):
    edit_params(folder, v1_valid=False)
    capture = load_capture(folder)
    assert capture.names == ("0", "2", "3")
    assert "marked invalid" in capture.notes[0]


# ---------------------------------------------------------------- pixel types


def as_16_bit(photo):
    return photo.astype(np.uint16) * 257


PIXELS = {
    "grey": lambda photo: (photo[..., 1], photo[..., [1, 1, 1]] / 255),
    "16-bit colour": lambda photo: (as_16_bit(photo) + 100, (as_16_bit(photo) + 100) / 65535),
    "16-bit grey": lambda photo: (as_16_bit(photo[..., 1]), photo[..., [1, 1, 1]] / 255),
    "RGBA": lambda photo: (np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)]), photo / 255),
    "16-bit RGBA": lambda photo: (
        np.dstack([as_16_bit(photo), np.full(photo.shape[:2], 65535, np.uint16)]),
        photo / 255,
    ),
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("name", PIXELS)
def test_pixel_types(pair, tmp_path, name, suffix):
    stored, expected = PIXELS[name](np.minimum(pair.photos[0], 254))
    bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(stored.shape[-1] if stored.ndim == 3 else 1)
    cv2.imwrite(str(tmp_path / f"0{suffix}"), stored if bgr is None else cv2.cvtColor(stored, bgr))
    view = load_capture(tmp_path).views[0]
    np.testing.assert_allclose(view.image, expected, atol=1e-6)
    assert view.mask is None


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "LA"])
def test_other_modes_of_pillow(pair, tmp_path, mode):
    suffix = ".tif" if mode == "CMYK" else ".png"
    image = Image.fromarray(pair.photos[0]).convert(mode)
    image.save(tmp_path / f"0{suffix}")
    expected = np.asarray(image.convert("RGB"), np.float32) / 255
    np.testing.assert_allclose(load_capture(tmp_path).views[0].image, expected, atol=1e-6)


def test_an_alpha_channel_is_the_mask_where_there_is_none(pair, tmp_path):
    alpha = pair.masks[0].astype(np.uint8) * 255
    Image.fromarray(np.dstack([pair.photos[0], alpha])).save(tmp_path / "0.png")
    views = load_capture(tmp_path).views
    np.testing.assert_array_equal(views[0].mask, pair.masks[0])
    assert views[1].mask is None


# ---------------------------------------------------------------- masks


@pytest.fixture
def masked(drawn_rig, place, tmp_path):
    """A folder with two photos and their masks, as nerfstudio lays them out."""
    views = place(drawn_rig(2, lens=LENS), tmp_path, "nerfstudio")
    WRITERS["nerfstudio"].write(tmp_path, views, None)
    return tmp_path


@pytest.mark.parametrize("max_size", [2048, 64])
def test_masks_are_undistorted_with_their_photo(masked, max_size):
    for view in load_capture(masked, max_size=max_size).views:
        rays = view.camera.rays(view.camera.pixel_grid())
        from_middle = np.linalg.norm(np.cross(rays, view.camera.center), axis=-1)  # of the ball, to each ray
        assert (view.mask == (from_middle < 80)).mean() > 0.985


def test_a_mask_of_another_size_is_refused(masked):
    Image.new("L", (48, 64)).save(masked / "masks/cam1.png")
    refused(masked, "the mask is 48×64, but its photo 96×128", masked / "masks/cam1.png")


# ---------------------------------------------------------------- bad photos


@pytest.mark.parametrize(("suffix", "bits"), [(".jpg", 8), (".png", 8), (".png", 16)])
def test_a_truncated_photo_is_refused(capture_folder, drawn_rig, suffix, bits):
    folder, photo = capture_folder(), drawn_rig(4, lens=LENS).photos[2]
    (folder / "2.jpg").unlink()
    path = folder / f"2{suffix}"
    cv2.imwrite(str(path), photo if bits == 8 else as_16_bit(photo))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    refused(folder, "truncated or corrupt", path)


def png_header(width, height):
    """A PNG file that claims a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


@pytest.mark.parametrize("size", [(30_000, 30_000), (13_400, 13_400)])
def test_a_huge_header_is_refused_before_decoding(folder, monkeypatch, size):
    (folder / "2.jpg").unlink()
    (folder / "2.png").write_bytes(png_header(*size))
    edit_params(folder, v2_width=size[0], v2_height=size[1])
    monkeypatch.setattr("mesoface.captures.load.decode_photo", lambda path: pytest.fail("decoded"))
    refused(folder, "claims more than 178 megapixels", folder / "2.png")


SMALL = cv2.imencode(".jpg", np.zeros((64, 48), np.uint8))[1].tobytes()
FLOATS = cv2.imencode(".tif", np.zeros((128, 96), np.float32))[1].tobytes()
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 128\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".jpg", None, "the image is missing"),
        (".jpg", b"GIF? no." * 20, "is not an image that can be read"),
        (".jpg", b"", "is not an image that can be read"),
        (".jpg", POSTSCRIPT, "is not an image that can be read"),  # Pillow has Ghostscript run it
        (".jpg", SMALL, "the image is 48×64, but its camera was calibrated at 96×128"),
        (".png", png_header(10_000, 10_000), "the image is 10000×10000, but its camera"),
        (".tif", FLOATS, "32-bit pixels"),
    ],
    ids=["missing", "not an image", "empty", "program", "small", "huge", "float"],
)
def test_what_is_not_the_photo_is_refused_with_the_reason(folder, suffix, content, words):
    (folder / "2.jpg").unlink()
    if content is not None:
        (folder / f"2{suffix}").write_bytes(content)
    refused(folder, words, folder / f"2{suffix}")


# ---------------------------------------------------------------- EXIF orientation


def with_orientation(path, photo, orientation):
    """Save ``photo`` so that EXIF ``orientation`` turns the stored pixels into it."""
    stored = next(s for s in all_turns(photo) if np.array_equal(turn_upright(s, orientation), photo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    return stored


def all_turns(photo):
    for turned in (photo, photo.swapaxes(0, 1)):
        for rows in (1, -1):
            for columns in (1, -1):
                yield np.ascontiguousarray(turned[::rows, ::columns])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_pillows(tmp_path, orientation):
    from PIL import ImageOps

    photo = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    stored = with_orientation(tmp_path / "0.png", photo, orientation)
    with Image.open(tmp_path / "0.png") as image:
        np.testing.assert_array_equal(
            np.asarray(ImageOps.exif_transpose(image)), turn_upright(stored, orientation)
        )
    header = read_header(tmp_path / "0.png")
    assert header.orientation == orientation
    assert header.upright_size == (6, 4)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_quarter_turn_is_applied_where_the_calibration_is_upright(pair, tmp_path, orientation):
    with_orientation(tmp_path / "0.png", pair.photos[0], orientation)
    capture = load_capture(tmp_path)
    np.testing.assert_allclose(capture.views[0].image, pair.photos[0] / 255, atol=1e-6)
    assert capture.notes == ("turned upright by their EXIF orientation, as they were calibrated: 0",)


def test_a_quarter_turn_is_not_applied_where_the_calibration_is_as_stored(pair, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pair.photos[0]).save(tmp_path / "0.png", exif=exif)
    capture = load_capture(tmp_path)
    np.testing.assert_allclose(capture.views[0].image, pair.photos[0] / 255, atol=1e-6)
    assert "EXIF orientation not applied" in capture.notes[0]


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_the_size_does_not_tell_is_refused(pair, tmp_path, orientation):
    with_orientation(tmp_path / "0.png", pair.photos[0], orientation)
    refused(tmp_path, f"EXIF orientation {orientation}, .*does not show", tmp_path / "0.png")


# ---------------------------------------------------------------- bad rigs


def test_one_view_is_refused(folder):
    refused(folder, "only 1 usable view, at least two are needed", names=["2"])
    edit_params(folder, **{f"v{i}_valid": False for i in range(3)})
    refused(folder, r"only 1 usable view.*marked invalid in params\.json: 0, 1, 2")


def test_the_same_view_named_twice_is_one_view(capture_folder):
    refused(capture_folder(), "only 1 usable view", names=["2", "2"])


def write_cameras(folder, rig, change):
    cameras = [change(camera) for camera in rig.cameras]
    facescape.write_photos(folder, rig.photos, cameras)
    return folder


def test_cameras_that_all_look_the_same_way_are_refused(drawn_rig, tmp_path):
    rig = drawn_rig(4)
    same = rig.cameras[0].R
    write_cameras(tmp_path, rig, lambda c: Camera(c.K, same, c.t + c.center, c.width, c.height))
    refused(tmp_path, r"all cameras look the same way \(within 0\.0°\)")


def test_cameras_at_the_same_place_are_refused(drawn_rig, tmp_path):
    rig = drawn_rig(4)
    center = rig.cameras[0].center
    write_cameras(tmp_path, rig, lambda c: Camera(c.K, c.R, -c.R @ center, c.width, c.height))
    refused(tmp_path, "all cameras stand at the same place")


def test_a_lens_that_leaves_nothing_is_refused(drawn_rig, tmp_path):
    rig = drawn_rig(2, size=(96, 128))
    bad = OpenCVLens((-1e7, 0.0, 0.0, 0.0))
    write_cameras(tmp_path, rig, lambda c: Camera(c.K, c.R, c.t, c.width, c.height, bad))
    with pytest.raises(CaptureError, match="nothing of the image is left") as error:
        load_capture(tmp_path)
    assert error.value.path in (tmp_path / "0.jpg", tmp_path / "1.jpg")


# ---------------------------------------------------------------- the captures at hand


@pytest.mark.parametrize(
    ("name", "format", "views"), [("captures/lps", "facescape", 10), ("captures/phone", "colmap", 24)]
)
def test_captures_at_hand(shared, name, format, views):
    capture = load_capture(shared(name), max_size=480)
    assert (capture.format, len(capture)) == (format, views)
    assert capture.notes == ()
    for view in capture.views:
        assert view.mask is None or 0.1 < view.mask.mean() < 0.9
        # the strong lens of the phone costs a margin, not the picture
        assert view.image.shape[0] * view.image.shape[1] > 0.85 * 480 * 270
