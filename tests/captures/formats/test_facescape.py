"""FaceScape's layout: written files read back, and what is wrong with a file is said."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mesoface.captures.formats import facescape, read_source
from mesoface.geometry.camera import Camera, OpenCVLens
from tests.captures.conftest import edit_params


@pytest.fixture
def folder(rig, tmp_path):
    facescape.write_photos(tmp_path, rig.photos, rig.cameras)
    return tmp_path


def test_written_views_read_back(folder, rig, assert_cameras):
    source = read_source(folder)
    assert source.mm_per_unit is None
    assert_cameras(source, rig.cameras, "facescape", names="{}")


def test_numbers_and_scale_are_written_and_read(rig, tmp_path):
    facescape.write_photos(tmp_path, rig.photos, rig.cameras, numbers=[7, 30, 12], mm_per_unit=41.5)
    source = read_source(tmp_path)
    assert {view.name: view.camera.center.tolist() for view in source.views} == {
        name: pytest.approx(camera.center.tolist())
        for name, camera in zip(("7", "30", "12"), rig.cameras, strict=True)
    }
    assert source.mm_per_unit == 41.5
    assert source.notes == ()


def test_what_the_papers_code_writes_is_enough(folder):
    """K, Rt, height and width alone: the photos are straight, and all of them valid."""
    path = folder / "params.json"
    params = json.loads(path.read_text())
    kept = {key: value for key, value in params.items() if not key.endswith(("_valid", "_distortion"))}
    path.write_text(json.dumps(kept))
    views = read_source(folder).views
    assert [view.name for view in views] == ["0", "1", "2"]
    assert all(view.camera.lens is None for view in views)


@pytest.mark.parametrize("scale", [0, -1.0, "41", True, float("inf"), [1]])
def test_a_scale_that_is_none_is_refused(folder, scale, assert_refused):
    edit_params(folder, mm_per_unit=scale)
    assert_refused(folder, "mm_per_unit must be a number above 0")


def test_convention_params_are_opencvs(folder, points):
    """K, Rt and distortion as cv2.projectPoints takes them, pixel centres at integers."""
    import cv2

    params = json.loads((folder / "params.json").read_text())
    Rt = np.array(params["1_Rt"])
    K, distortion = np.array(params["1_K"]), np.array(params["1_distortion"])
    expected, _ = cv2.projectPoints(points, cv2.Rodrigues(Rt[:, :3])[0], Rt[:, 3], K, distortion)
    seen, _ = read_source(folder).views[1].camera.project(points)
    np.testing.assert_allclose(seen, expected[:, 0], atol=1e-8)


def test_photos_are_written_as_given(folder, rig):
    photo = np.asarray(Image.open(folder / "2.jpg")).astype(float)
    assert np.abs(photo - rig.photos[2]).mean() < 6  # JPEG


def test_invalid_views_are_left_out_and_noted(folder):
    edit_params(folder, v1_valid=False)
    source = read_source(folder)
    assert [view.name for view in source.views] == ["0", "2"]
    assert source.notes == ("left out, marked invalid in params.json: 1",)


def test_an_invalid_view_may_have_garbage(folder):
    edit_params(folder, v1_valid=False, v1_K=[[0]], v1_Rt=None)
    assert len(read_source(folder).views) == 2


def test_any_other_photo_is_noted(folder):
    (folder / "0.jpg").rename(folder / "\u00b2.jpg")  # a digit, but no number
    assert "photos that params.json does not describe: ².jpg" in read_source(folder).notes


def test_views_are_in_numerical_order(drawn_rig, tmp_path):
    rig = drawn_rig(11, size=(24, 32))
    facescape.write_photos(tmp_path, rig.photos, rig.cameras)
    assert [view.name for view in read_source(tmp_path).views] == [str(i) for i in range(11)]


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg"])
def test_other_suffixes_are_found(folder, suffix):
    with Image.open(folder / "0.jpg") as image:
        image.load()
    (folder / "0.jpg").unlink()
    image.save(folder / f"0{suffix}")
    assert read_source(folder).views[0].image_path == folder / f"0{suffix}"


ROTATED = np.column_stack([2 * np.eye(3), np.zeros(3)]).tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"v1_K": [[1, 0], [0, 1]]}, "view 1: K must have the shape (3, 3), got (2, 2)"),
        ({"v1_K": [[float("nan"), 0, 1], [0, 1, 1], [0, 0, 1]]}, "view 1: K has numbers that are not finite"),
        ({"v1_K": "900"}, "view 1: K must have"),
        ({"v1_K": [["a", 0, 0], [0, 1, 0], [0, 0, 1]]}, "view 1: a regular grid of numbers was expected"),
        ({"v1_K": [[1, 0], [1]]}, "view 1: a regular grid of numbers was expected"),
        ({"v1_Rt": ROTATED}, "view 1: R is not a rotation"),
        ({"v1_Rt": ROTATED[:2]}, "view 1: Rt must have the shape (3, 4), got (2, 4)"),
        ({"v1_distortion": [0.1, 0.2]}, "view 1: expected 4, 5, 8, 12 or 14 lens coefficients, got 2"),
        ({"v1_distortion": [0.1, float("inf"), 0, 0, 0]}, "view 1: a lens coefficient is not finite"),
        ({"v1_Rt": None}, "view 1 has no 1_Rt"),
        ({"v1_width": None, "v1_height": None}, "view 1 has no 1_width, 1_height"),
        ({"v1_width": -5}, "view 1: image size must be positive"),
        ({"v1_width": "wide"}, "view 1: "),
        ({"v1_width": float("inf")}, "view 1: "),
    ],
)
def test_wrong_numbers_name_the_file_and_the_view(folder, changes, words, assert_refused):
    edit_params(folder, **changes)
    assert_refused(folder, words, folder / "params.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json at all", "is not JSON"),
        (b'{"0_K": [[1,', "is not JSON"),
        (b"\xff\xfe\x00\x01", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "holds a JSON list"),
        (b"{}", "describes no view"),
    ],
)
def test_a_file_that_is_no_params_is_refused(folder, content, words, assert_refused):
    (folder / "params.json").write_bytes(content)
    assert_refused(folder, re.compile(words), folder / "params.json")


def test_write_refuses_what_the_layout_cannot_hold(rig, tmp_path):
    camera = rig.cameras[0]
    rational = Camera(camera.K, camera.R, camera.t, camera.width, camera.height, OpenCVLens((0.1,) * 8))
    with pytest.raises(ValueError, match="is not Brown's with 3 radial terms at most"):
        facescape.write_photos(tmp_path, rig.photos[:1], [rational])
    with pytest.raises(ValueError, match="photo 0 is"):
        facescape.write_photos(tmp_path, [rig.photos[0][:-1]], [camera])
    with pytest.raises(ValueError, match="2 photos but 1 cameras"):
        facescape.write_photos(tmp_path, rig.photos[:2], [camera])
    assert not list(tmp_path.iterdir())
