"""capture.json: written and read back, by hand and by us; what is wrong with one is said."""

import json
from dataclasses import replace

import numpy as np
import pytest

import mesoface
from mesoface.captures.capture import ViewSource
from mesoface.captures.formats import plain, read_source
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.geometry.camera import OpenCVLens
from tests.captures.conftest import edit

LENSES = [
    None,
    OpenCVLens((-0.08, 0.05, 0.0005, -0.0004)),
    OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01, 0.001, 0.002, 0.003)),
    BrownLens((-0.08, 0.05, 0.01, -0.02, 0.0005, -0.0004)),
    ColmapLens("OPENCV_FISHEYE", (0.05, 0.01, -0.004, 0.001)),
    ColmapLens("THIN_PRISM_FISHEYE", (0.05, 0.01, 0.001, 0.002, 0.0, 0.0, 0.003, -0.001)),
    ColmapLens("FOV", (0.4,)),
]


def by_hand(rig) -> dict:
    """The file's content, written from its definition."""
    views = [
        {
            "name": f"cam{i}",
            "image": f"photos/cam{i}.png",
            "width": camera.width,
            "height": camera.height,
            "K": camera.K.tolist(),
            "distortion": {"model": "opencv", "coefficients": list(camera.lens.coefficients)},
            "R": camera.R.tolist(),
            "t": camera.t.tolist(),
        }
        for i, camera in enumerate(rig.cameras)
    ]
    return {"format": "mesoface-capture", "version": 1, "mm_per_unit": 1.0, "views": views}


@pytest.fixture
def folder(folder, rig):
    (folder / "capture.json").write_text(json.dumps(by_hand(rig)))
    return folder


def test_convention_nothing_is_converted(folder, rig, assert_cameras):
    source = read_source(folder)
    assert source.mm_per_unit == 1.0
    assert_cameras(source, rig.cameras, "plain")
    for view, camera in zip(source.views, rig.cameras, strict=True):
        np.testing.assert_array_equal(view.camera.K, camera.K)
        np.testing.assert_array_equal(view.camera.t, camera.t)


def test_it_loads(folder):
    capture = mesoface.load_capture(folder)
    assert len(capture) == 3
    assert capture.mm_per_unit == 1.0


@pytest.mark.parametrize("lens", LENSES, ids=str)
def test_every_lens_is_written_and_read_back(lens, rig, tmp_path):
    cameras = [replace(camera, lens=lens) for camera in rig.cameras]
    views = [
        ViewSource(f"v{i}", tmp_path / f"{i}.jpg", camera, tmp_path / f"masks/{i}.png" if i else None)
        for i, camera in enumerate(cameras)
    ]
    assert plain.write_capture_json(tmp_path, views, mm_per_unit=2.5) == tmp_path / "capture.json"
    source = read_source(tmp_path)
    assert source.mm_per_unit == 2.5
    for view, expected in zip(source.views, views, strict=True):
        assert replace(view, camera=expected.camera) == expected
        assert view.camera.lens == lens
        np.testing.assert_array_equal(view.camera.P, expected.camera.P)


def test_a_scale_that_is_not_known_is_none(folder):
    for change in (lambda c: c.update(mm_per_unit=None), lambda c: c.pop("mm_per_unit")):
        edit(folder / "capture.json", change)
        assert read_source(folder).mm_per_unit is None


def test_writing_refuses_what_the_file_cannot_say(rig, tmp_path):
    view = ViewSource("a", tmp_path / "a.jpg", rig.cameras[0])
    with pytest.raises(ValueError, match="not in the subpath"):
        plain.write_capture_json(tmp_path, [replace(view, image_path=tmp_path.parent / "a.jpg")])
    with pytest.raises(ValueError, match="the same name"):
        plain.write_capture_json(tmp_path, [view, view])

    class Strange:
        distort = undistort = staticmethod(lambda xy: xy)

    strange = replace(view, camera=replace(view.camera, lens=Strange()))
    with pytest.raises(ValueError, match="no name for the lens Strange"):
        plain.write_capture_json(tmp_path, [strange])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="capture"), "format: Input should be 'mesoface-capture'"),
        (lambda c: c.update(version=2), "version: Input should be 1"),
        (lambda c: c.update(views=[]), "views: List should have at least 1 item"),
        (lambda c: c.update(unit="mm"), "unit: Extra inputs are not permitted"),
        (lambda c: c.update(mm_per_unit=0), "mm_per_unit"),
        (lambda c: c["views"][1].pop("R"), "views.1.R: Field required"),
        (lambda c: c["views"][1].update(K=[[1, 0, 0]]), "views.1.K"),
        (lambda c: c["views"][1].update(width="96"), "views.1.width: Input should be a valid integer"),
        (lambda c: c["views"][1].update(width=1 << 40), "views.1.width"),
        (lambda c: c["views"][1].update(t=[0, float("nan"), 0]), "views.1.t.1: Input should be a finite"),
        (lambda c: c["views"][1].update(R=np.diag([1, 1, -1]).tolist()), "view cam1: R is not a rotation"),
        (lambda c: c["views"][1].update(name="cam0"), "two views have the name 'cam0'"),
        (lambda c: c["views"][1].update(image="../1.png"), "leads out of the capture's folder"),
        (lambda c: c["views"][1].update(mask="/etc/passwd"), "leads out of the capture's folder"),
        (lambda c: c["views"][1]["distortion"].update(model="fish"), "views.1.distortion.model"),
        (lambda c: c["views"][1]["distortion"].update(coefficients=[1]), "view cam1: expected 4, 5, 8"),
        (lambda c: c["views"][1]["distortion"].update(model="fov"), "view cam1: 5 lens coefficients do not"),
    ],
)
def test_wrong_files_are_refused_in_words(folder, change, words, assert_refused):
    assert_refused(folder, words, edit(folder / "capture.json", change))


def test_the_schema_names_every_key_and_refuses_others():
    schema = plain.capture_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"format", "version", "mm_per_unit", "views"}
    view = schema["$defs"]["CapturedView"]
    assert set(view["required"]) == {"name", "image", "width", "height", "K", "R", "t"}
    assert all("description" in entry for entry in view["properties"].values())
