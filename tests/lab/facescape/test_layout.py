"""Names of captures, and where published captures are found."""

from pathlib import Path

import pytest

from mesoface.errors import MesofaceError
from mesoface.lab.facescape.layout import CaptureId, RawCapture, find_raw_captures
from mesoface.lab.facescape.settings import EXPRESSIONS


def test_a_capture_has_the_published_names():
    id = CaptureId(7, 20)
    assert (id.key, id.expression_name) == ("007_20", "20_brow_lower")
    assert CaptureId.parse("007_20") == id
    assert CaptureId(359, 1).expression_name == "1_neutral"
    assert len(set(EXPRESSIONS)) == 20


@pytest.mark.parametrize(
    "key", ["", "7_20", "007_21", "007_00", "000_01", "007_1", "a07_01", "007_01.json", "../1"]
)
def test_what_names_no_capture_is_refused(key: str):
    with pytest.raises(ValueError, match="no capture"):
        CaptureId.parse(key)


FIRST, SECOND = CaptureId(1, 1), CaptureId(12, 20)


def make(root: Path, *paths: str) -> None:
    """Folders, and files where a name has a dot."""
    for path in paths:
        if "." in path:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        else:
            (root / path).mkdir(parents=True)


def test_people_with_scans_beside(tmp_path: Path):
    make(tmp_path, "12/20_brow_lower", "1/1_neutral", "1/1_neutral.ply")
    make(tmp_path, "12/notes", "readme/1_neutral", "0/1_neutral")
    assert find_raw_captures(tmp_path) == {
        FIRST: RawCapture(FIRST, tmp_path / "1" / "1_neutral", tmp_path / "1" / "1_neutral.ply"),
        SECOND: RawCapture(SECOND, tmp_path / "12" / "20_brow_lower", None),
    }
    assert list(find_raw_captures(tmp_path)) == [FIRST, SECOND]


def test_photos_and_scans_apart(tmp_path: Path):
    make(tmp_path, "imgs/12/20_brow_lower", "mesh/12/20_brow_lower.ply")
    found = find_raw_captures(tmp_path)[SECOND]
    assert found.folder == tmp_path / "imgs" / "12" / "20_brow_lower"
    assert found.scan == tmp_path / "mesh" / "12" / "20_brow_lower.ply"


def test_a_prepared_folder_is_read_too(tmp_path: Path):
    make(tmp_path, "images/001/01", "images/001/01.ply", "images/012/20", "images/012/21", "maps/eval")
    found = find_raw_captures(tmp_path)
    assert list(found) == [FIRST, SECOND]
    assert found[FIRST].scan == tmp_path / "images" / "001" / "01.ply"


def test_one_capture_in_two_places_is_an_error(tmp_path: Path):
    make(tmp_path, "1/1_neutral", "imgs/1/1_neutral")
    with pytest.raises(MesofaceError, match="001_01 exists twice"):
        find_raw_captures(tmp_path)


def test_nothing_there_says_what_was_looked_for(tmp_path: Path):
    make(tmp_path, "1/30_something", "photos/1_neutral")
    with pytest.raises(MesofaceError, match="1/1_neutral") as caught:
        find_raw_captures(tmp_path)
    assert caught.value.path == tmp_path
