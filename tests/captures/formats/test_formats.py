"""Finding the format of a folder."""

import re

import pytest

from mesoface.captures.formats import FORMATS, read_source
from mesoface.captures.formats.files import inside, read_xml, unique_names
from mesoface.errors import CaptureError


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
