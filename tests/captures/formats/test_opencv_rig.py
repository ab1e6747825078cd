"""One OpenCV file for a rig: all of FileStorage's ways, photos by the order of names, what is refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

import mesoface
from mesoface.captures.formats import read_source
from mesoface.captures.formats.lenses import BrownLens, Unsupported
from mesoface.captures.formats.opencv_rig import write as write_rig
from mesoface.geometry.camera import OpenCVLens
from tests.captures.conftest import edit

LAYOUT_BY_HAND = """%YAML:1.0
intrinsic-0: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 3.072e+002, 0., 4.9e+001, 0., 3.072e+002, 6.1250000000000000e+001,
       0., 0., 1. ]
extrinsic-0: !!opencv-matrix
   rows: 3
   cols: 4
   dt: d
   data: [ 1., 0., 0., 5., 0., -1., 0., 6.,
       0., 0., -1., 600. ]
"""


def file_storage(cameras, suffix: str, **others) -> str:
    """What cv2.FileStorage itself writes."""
    storage = cv2.FileStorage(suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for i, camera in enumerate(cameras):
        storage.write(f"intrinsic-{i}", camera.K)
        storage.write(f"extrinsic-{i}", np.column_stack([camera.R, camera.t]))
        storage.write(f"distortion-{i}", np.array([camera.lens.coefficients]))
    for name, value in others.items():
        storage.write(name, value)
    return storage.releaseAndGetString()


@pytest.fixture
def flat(folder):
    """The photos cam0.png … in the folder itself."""
    for photo in (folder / "photos").iterdir():
        photo.rename(folder / photo.name)
    (folder / "photos").rmdir()
    return folder


@pytest.fixture
def capture(flat, rig):
    (flat / "calib_camera.yml").write_text(file_storage(rig.cameras, ".yml"))
    return flat


@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".xml", ".json"])
@pytest.mark.parametrize("below", ["", "calibration"])
def test_convention_is_opencvs_own(flat, rig, suffix, below, assert_cameras):
    (flat / below).mkdir(exist_ok=True)
    (flat / below / f"rig{suffix}").write_text(file_storage(rig.cameras, suffix))
    source = read_source(flat)
    assert_cameras(source, rig.cameras, "opencv_rig")
    assert source.mm_per_unit is None


def test_a_file_by_hand(tmp_path, rig):
    cv2.imwrite(str(tmp_path / "0.png"), rig.photos[0])
    (tmp_path / "calib_camera.yml").write_text(LAYOUT_BY_HAND)
    camera = read_source(tmp_path).views[0].camera
    np.testing.assert_array_equal(camera.K, [[307.2, 0, 49], [0, 307.2, 61.25], [0, 0, 1]])
    np.testing.assert_array_equal(camera.R, np.diag([1, -1, -1]))
    np.testing.assert_array_equal(camera.t, [5, 6, 600])
    assert (camera.width, camera.height, camera.lens) == (96, 128, None)


@pytest.mark.parametrize("names", [["cam2", "cam10", "cam9"], ["B_1", "a_2", "c_0"]])
def test_photos_belong_to_cameras_in_natural_order(flat, rig, names, assert_cameras):
    """By the value of numbers, and case does not matter: cam2, cam9, cam10; a, B, c."""
    for i in range(3):
        (flat / f"cam{i}.png").rename(flat / f"{i}.tmp")
    for i, name in enumerate(names):
        (flat / f"{i}.tmp").rename(flat / f"{name}.png")
    (flat / "rig.yml").write_text(file_storage(rig.cameras, ".yml"))
    ordered = {"cam2": ["cam2", "cam9", "cam10"], "B_1": ["a_2", "B_1", "c_0"]}[names[0]]
    source = read_source(flat)
    assert [view.name for view in source.views] == ordered
    np.testing.assert_allclose(
        [v.camera.center for v in source.views], [c.center for c in rig.cameras], atol=1e-9
    )


def test_pairs_that_no_number_confirms_are_noted(capture):
    (capture / "cam1.png").rename(capture / "cam-b.png")
    (capture / "cam0.png").rename(capture / "cam-a.png")
    assert read_source(capture).notes == (
        "belongs to its camera by the order of names alone: cam2.png to camera 0, cam-a.png to camera 1, "
        "cam-b.png to camera 2",
    )


def test_keys_that_are_not_used_are_named(flat, rig):
    (flat / "rig.yml").write_text(file_storage(rig.cameras, ".yml", board=np.eye(2), rms=0.21))
    assert read_source(flat).notes == ("keys that are not used: board, rms",)


@pytest.mark.parametrize("folder_name", ["mask", "masks"])
@pytest.mark.parametrize("name", ["{}.png", "{}.png.png", "{}_mask.png"])
def test_masks_lie_beside(capture, rig, folder_name, name):
    (capture / folder_name).mkdir()
    for i, mask in enumerate(rig.masks):
        cv2.imwrite(str(capture / folder_name / name.format(f"cam{i}")), mask * np.uint8(255))
    loaded = mesoface.load_capture(capture)
    assert loaded.notes == ()
    for view, mask in zip(loaded.views, rig.masks, strict=True):
        assert view.mask.mean() == pytest.approx(mask.mean(), rel=0.05)


def test_lenses_may_be_left_out(capture):
    edit(capture / "calib_camera.yml", lambda text: text.replace("distortion-1", "spare"))
    lenses = [view.camera.lens for view in read_source(capture).views]
    assert [lens is None for lens in lenses] == [False, True, False]
    assert isinstance(lenses[0], OpenCVLens)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("extrinsic-1", "other"), "camera 1: has no extrinsic-1"),
        (lambda t: t.replace("intrinsic-2", "other"), "camera 2: has no intrinsic-2"),
        (lambda t: t.replace("cols: 4", "cols: 3", 1), "camera 0: a matrix of 3×3 has 12 numbers"),
        (lambda t: t.replace("rows: 3\n   cols: 4", "rows: 4\n   cols: 3", 1), "must be 3×4 or 4×4"),
        (lambda t: t.replace("data: [", "data: [ wide, ", 1), "a regular grid of numbers was expected"),
        (lambda t: t.replace("rows: 1\n   cols: 5", "rows: 5\n   cols: 0", 1), "a matrix of 5×0"),
        (lambda t: t.replace("data: [", "data: [ .Nan, 0., ", 1), "camera 0"),
        (lambda t: t + "mm_per_unit: -1.\n", "mm_per_unit must be a number above 0"),
        (lambda t: t + "mm_per_unit: [1., 2.]\n", "mm_per_unit must be a number above 0"),
        (lambda t: t + "mm_per_unit: metres\n", "a regular grid of numbers was expected"),
        (lambda t: t + "a: &x 1\nb: *x\n", "it uses an alias"),
        (lambda t: t + "intrinsic-7: !!opencv-matrix\n", "describes 4 cameras, but there are 3 photos"),
    ],
)
def test_damaged_files_are_refused_in_words(capture, change, words, assert_refused):
    file = capture / "calib_camera.yml"
    assert_refused(capture, words, edit(file, change))


def test_a_missing_and_a_spare_photo_are_refused(capture, assert_refused):
    """Left as it is, every camera after it would get its neighbour's photo."""
    (capture / "cam1.png").rename(capture / "images")  # out of the way: not a photo's name
    assert_refused(capture, "describes 3 cameras, but there are 2 photos", capture / "calib_camera.yml")


def test_two_calibrations_are_refused(capture, assert_refused):
    (capture / "old.yml").write_bytes((capture / "calib_camera.yml").read_bytes())
    assert_refused(capture, "found calib_camera.yml, old.yml", capture)


def test_xml_with_an_entity_is_refused(flat, rig, assert_refused):
    text = file_storage(rig.cameras, ".xml").replace(
        "<opencv_storage>", '<!DOCTYPE a [<!ENTITY b "c">]>\n<opencv_storage>'
    )
    (flat / "rig.xml").write_text(text)
    assert_refused(flat, "declares a document type or an entity")


def test_a_lens_of_another_kind_is_not_written(capture, tmp_path):
    views = read_source(capture).views
    camera = replace(views[1].camera, lens=BrownLens((0.1, 0, 0, 0.01, 0, 0)))
    with pytest.raises(Unsupported, match="view cam1: this layout has no counterpart of BrownLens"):
        write_rig(tmp_path, [views[0], replace(views[1], camera=camera)], None)
    assert [path.name for path in tmp_path.glob("*.yml")] == ["calib_camera.yml"]


def test_a_real_rig(shared):
    """Ten cameras, principal points beside the image for some, masks beside the photos."""
    source = read_source(shared("captures/dslr"))
    assert (source.format, source.notes, source.mm_per_unit) == ("opencv_rig", (), None)
    assert [view.name for view in source.views] == [f"Cam{i}__014" for i in range(10)]
    assert all(view.mask_path is not None for view in source.views)
    assert {(view.camera.width, view.camera.height) for view in source.views} == {(3456, 5184)}
    # The photos' middles, not the principal points, look at one place: the head, some 1 m away.
    cameras = [view.camera for view in source.views]
    rays = np.array([camera.rays(np.array([[1727.5, 2591.5]]))[0] for camera in cameras])
    across = np.eye(3) - rays[:, :, None] * rays[:, None]
    centers = np.array([camera.center for camera in cameras])
    middle = np.linalg.solve(across.sum(0), np.einsum("vij,vj->i", across, centers))
    for camera in cameras:
        (u, v), depth = (values[0] for values in camera.project(middle[None]))
        assert 800 < depth < 1200
        assert abs(u - 1727.5) < 500
        assert abs(v - 2591.5) < 500
