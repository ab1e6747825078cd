"""All formats: which one a folder has, untrusted paths and XML, and that our own files read back."""

import re

import numpy as np
import pytest

from mesoface.captures.formats import FORMATS, WRITERS, read_source
from mesoface.captures.formats.files import inside, read_xml, unique_names
from mesoface.captures.formats.lenses import BrownLens, ColmapLens, Unsupported
from mesoface.errors import CaptureError
from mesoface.geometry.camera import OpenCVLens


def test_an_empty_folder_is_refused_with_what_was_looked_for(tmp_path, assert_refused):
    said = assert_refused(tmp_path, "is an empty folder", tmp_path)
    assert all(reader.LOOKS_FOR in said for reader in FORMATS.values())


def test_a_folder_without_calibration_is_refused(tmp_path, assert_refused):
    (tmp_path / "0.jpg").touch()
    assert_refused(tmp_path, "holds no capture in a known format")


def test_a_missing_folder_and_a_file_are_refused(tmp_path, assert_refused):
    assert_refused(tmp_path / "nowhere", "does not exist")
    (tmp_path / "params.json").touch()
    assert_refused(tmp_path / "params.json", "is a file")


def test_an_unknown_format_is_refused(tmp_path, assert_refused):
    words = re.compile("no capture format 'polaroid'.*plain, facescape, colmap")
    assert_refused(tmp_path, words, format="polaroid")


@pytest.mark.parametrize("name", FORMATS)
def test_a_named_format_that_is_not_there_is_refused(tmp_path, name, assert_refused):
    assert_refused(tmp_path, re.compile("no |found none"), tmp_path, format=name)


def test_the_named_format_wins(capture_folder):
    folder = capture_folder()
    (folder / "transforms.json").write_text("{}")
    assert read_source(folder).format == "facescape"
    with pytest.raises(CaptureError, match=r"transforms\.json"):
        read_source(folder, "nerfstudio")


@pytest.mark.parametrize(
    "name", ["../0.jpg", "/etc/passwd", "a/../../b.jpg", "..\\0.jpg", "C:\\0.jpg", "", ".", "a\0b"]
)
def test_paths_stay_inside_the_capture(tmp_path, name):
    with pytest.raises(CaptureError, match="leads out of"):
        inside(tmp_path, name, file=tmp_path / "transforms.json")


@pytest.mark.parametrize("name", ["9" * 300, "a/" * 2000 + "b.jpg", "\ud800.jpg"])
def test_names_that_no_file_has_are_refused(tmp_path, name):
    with pytest.raises(CaptureError, match="is not a possible file name"):
        inside(tmp_path, name, file=tmp_path / "transforms.json")


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (b"<a>" * 400_000 + b"</a>" * 400_000, "more elements than a calibration has"),
        (b"<a/>" * 700_000, "more elements than a calibration has"),
        (b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "declares a document type or an entity"),
        (b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "declares a document type"),
        (b"<a>&b;</a>", "is not XML (undefined entity"),
        (b"<a><b></a>", "is not XML (mismatched tag"),
        (b'<?xml version="1.0" encoding="never"?><a/>', "is not XML (unknown encoding"),
        (b"#" * (33 << 20), "is larger than 32 MB"),
    ],
    ids=["deep", "many", "document type", "external", "undefined", "mismatched", "encoding", "large"],
)
def test_xml_that_is_meant_to_hurt_is_refused(tmp_path, xml, words, assert_refused):
    (tmp_path / "a.xml").write_bytes(xml)
    assert_refused(tmp_path / "a.xml", words, read=read_xml)


def test_xml_of_the_largest_depth_is_read(tmp_path):
    (tmp_path / "a.xml").write_bytes(b"<a>" * 299_000 + b"</a>" * 299_000)
    assert sum(1 for _ in read_xml(tmp_path / "a.xml").iter("a")) == 299_000


def test_inner_paths_are_taken(tmp_path):
    assert inside(tmp_path, "./images/a.b/0.jpg", file=tmp_path) == tmp_path / "images/a.b/0.jpg"


def test_names_are_stems_where_they_tell_views_apart():
    assert unique_names(["a/0.jpg", "b/1.jpg"]) == ["0", "1"]
    assert unique_names(["a/0.jpg", "b/0.jpg"]) == ["a/0.jpg", "b/0.jpg"]


BROWN = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01))
RATIONAL = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01, 0.001, 0.002, 0.003))
PRISM = OpenCVLens((-0.08, 0.05, 0.0005, -0.0004, 0.01, 0, 0, 0, 0.001, 0, 0, 0))
BROWN4 = BrownLens((-0.08, 0.05, 0.01, -0.02, 0.0005, -0.0004))
FISHEYE = ColmapLens("OPENCV_FISHEYE", (0.05, 0.01, -0.004, 0.001))
FOV = ColmapLens("FOV", (0.4,))
SUPPORTED = {
    "plain": (None, BROWN, RATIONAL, PRISM, BROWN4, FISHEYE, FOV),
    "facescape": (None, BROWN),
    "colmap": (None, BROWN, RATIONAL, FISHEYE, FOV),
    "nerfstudio": (None, BROWN, FISHEYE),
    "metashape": (None, BROWN, BROWN4, FISHEYE),
    "realitycapture": (None, BROWN, BROWN4),
    "openmvg": (None, BROWN, FISHEYE),
    "meshroom": (None, BROWN, FISHEYE),
    "opencv_rig": (None, BROWN, RATIONAL, PRISM),
    "opencv": (None, BROWN, RATIONAL, PRISM, FISHEYE),
}
ALL = (None, BROWN, RATIONAL, PRISM, BROWN4, FISHEYE, FOV)
PAIRS = [(name, lens) for name in WRITERS for lens in ALL]


def test_every_reader_has_a_writer():
    assert set(WRITERS) == set(FORMATS) == set(SUPPORTED)


@pytest.mark.parametrize(("name", "lens"), PAIRS, ids=str)
def test_what_is_written_reads_back_or_is_refused(name, lens, rig, tmp_path, place, assert_cameras):
    views = place(rig, tmp_path, name, lens=lens)
    if lens not in SUPPORTED[name]:
        with pytest.raises(Unsupported, match="view cam0: ") as error:
            WRITERS[name].write(tmp_path, views, None)
        assert error.value.undistort
        return
    WRITERS[name].write(tmp_path, views, None)
    source = FORMATS[name].read(tmp_path)
    assert source.mm_per_unit is None
    assert [view.image_path for view in source.views] == [view.image_path for view in views]
    assert [view.mask_path for view in source.views] == [view.mask_path for view in views]
    assert {view.camera.lens is None for view in source.views} == {lens is None}
    assert_cameras(
        source, [view.camera for view in views], names="{}" if "{index}" in WRITERS[name].PHOTO else "cam{}"
    )


@pytest.mark.parametrize("name", WRITERS)
def test_the_unit_comes_back_where_it_can_be_stated(name, rig, tmp_path, place):
    views = place(rig, tmp_path, name, masks=False)
    WRITERS[name].write(tmp_path, views, 10.0)
    source = FORMATS[name].read(tmp_path)
    if not WRITERS[name].STATES_UNIT:
        assert source.mm_per_unit is None
        return
    center = source.views[1].camera.center * source.mm_per_unit  # metres in one, units of 10 mm in another
    np.testing.assert_allclose(center, views[1].camera.center * 10.0, rtol=1e-12)


@pytest.mark.parametrize("name", WRITERS)
def test_skew_and_aspect_are_kept_or_refused(name, rig, tmp_path, place):
    K = rig.cameras[0].K
    for change, supported in (
        ({(0, 0): 1.02 * K[0, 0]}, name != "openmvg"),
        ({(0, 1): 0.5}, name in ("plain", "facescape", "metashape", "opencv_rig", "opencv")),
    ):
        changed = K.copy()
        for at, value in change.items():
            changed[at] = value
        views = place(rig, tmp_path, name, lens=None, K=changed, masks=False)
        if supported:
            WRITERS[name].write(tmp_path, views, None)
            np.testing.assert_allclose(FORMATS[name].read(tmp_path).views[0].camera.K, changed, atol=1e-9)
        else:
            with pytest.raises(Unsupported, match="pixels are") as error:
                WRITERS[name].write(tmp_path, views, None)
            assert not error.value.undistort


CALIBRATED, BARE = "calibrated but not on disk, left out:", "photos without a camera:"
NOTES = {
    "plain": (),  # the missing photo is an error when it is loaded, also of facescape
    "facescape": (
        "in params.json without a photo: 1",
        "photos that params.json does not describe: other.png",
    ),
    "colmap": (
        "in the COLMAP model but not in images/, left out: cam1.png",
        "in images/ but not in the COLMAP model: other.png",
    ),
    "nerfstudio": (
        "in transforms.json but not on disk, left out: images/cam1.png",
        "photos that transforms.json does not describe: images/other.png",
    ),
    "metashape": (f"{CALIBRATED} cam1", f"{BARE} images/other.png"),
    "realitycapture": (f"{CALIBRATED} cam1", f"{BARE} other.png"),
    "openmvg": (f"{CALIBRATED} cam1.png", f"{BARE} images/other.png"),
    "meshroom": (f"{CALIBRATED} cam1.png", f"{BARE} images/other.png"),
    "opencv_rig": (  # its photos have no names in the file
        "belongs to its camera by the order of names alone: 2.png to camera 1, other.png to camera 2",
    ),
    "opencv": (f"{CALIBRATED} cam1", f"{BARE} images/other.png"),
}


@pytest.mark.parametrize(("name", "notes"), NOTES.items())
def test_photos_and_cameras_that_do_not_meet_are_noted(name, notes, rig, tmp_path, place):
    views = place(rig, tmp_path, name, masks=False)
    WRITERS[name].write(tmp_path, views, None)
    views[1].image_path.rename(views[1].image_path.with_name("other.png"))
    source = FORMATS[name].read(tmp_path)
    assert source.notes == notes
    photos = [view.image_path.stem[-1] for view in source.views]
    expected = {"plain": "012", "facescape": "012", "opencv_rig": "02r"}
    assert photos == list(expected.get(name, "02"))
