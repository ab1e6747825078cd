"""Names of captures, where published captures are found, metadata files, and how people are split."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.lab.facescape.layout import (
    Alignment,
    CaptureId,
    RawCapture,
    Scales,
    Selection,
    find_raw_captures,
    read_splits,
    split_people,
    write_scales,
    write_selection,
    write_splits,
)
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


A, B = CaptureId(1, 1), CaptureId(12, 20)


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
        A: RawCapture(A, tmp_path / "1" / "1_neutral", tmp_path / "1" / "1_neutral.ply"),
        B: RawCapture(B, tmp_path / "12" / "20_brow_lower", None),
    }
    assert list(find_raw_captures(tmp_path)) == [A, B]


def test_photos_and_scans_apart(tmp_path: Path):
    make(tmp_path, "imgs/12/20_brow_lower", "mesh/12/20_brow_lower.ply")
    found = find_raw_captures(tmp_path)[B]
    assert found.folder == tmp_path / "imgs" / "12" / "20_brow_lower"
    assert found.scan == tmp_path / "mesh" / "12" / "20_brow_lower.ply"


def test_a_prepared_folder_is_read_too(tmp_path: Path):
    make(tmp_path, "images/001/01", "images/001/01.ply", "images/012/20", "images/012/21", "maps/eval")
    found = find_raw_captures(tmp_path)
    assert list(found) == [A, B]
    assert found[A].scan == tmp_path / "images" / "001" / "01.ply"


def test_one_capture_in_two_places_is_an_error(tmp_path: Path):
    make(tmp_path, "1/1_neutral", "imgs/1/1_neutral")
    with pytest.raises(MesofaceError, match="001_01 exists twice"):
        find_raw_captures(tmp_path)


def test_nothing_there_says_what_was_looked_for(tmp_path: Path):
    make(tmp_path, "1/30_something", "photos/1_neutral")
    with pytest.raises(MesofaceError, match="1/1_neutral") as caught:
        find_raw_captures(tmp_path)
    assert caught.value.path == tmp_path


RIGID = np.eye(3, 4).tolist()
WORLD = Alignment(37.5, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([5.0, -80.25, 9]))


def put(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_scales_have_the_published_layout(tmp_path: Path):
    write_scales(tmp_path / "s.json", {A: WORLD})
    scale, motion = json.loads((tmp_path / "s.json").read_text())["1"]["1"]
    assert scale == WORLD.mm_per_unit
    np.testing.assert_array_equal(motion, np.column_stack([WORLD.R, WORLD.t]))
    read = Scales(tmp_path / "s.json").of(A)
    assert read.mm_per_unit == WORLD.mm_per_unit
    np.testing.assert_array_equal(read.R, WORLD.R)
    np.testing.assert_array_equal(read.t, WORLD.t)


def test_a_bad_scale_costs_its_capture_alone(tmp_path: Path):
    file = put(tmp_path / "s.json", {"1": {"1": [0, RIGID]}, "12": {"20": [2.0, RIGID]}})
    assert Scales(file).of(B).mm_per_unit == 2
    with pytest.raises(MesofaceError, match=r"person 1, expression 1: .*the scale is 0"):
        Scales(file).of(A)
    with pytest.raises(MesofaceError, match="has no scale for person 1, expression 2"):
        Scales(file).of(CaptureId(1, 2))


@pytest.mark.parametrize(
    "value",
    [
        *(3.0, [3.0], [3.0, 1], [3.0, [[1, 0], [0, 1]]], {"scale": 3.0}),
        *([3.0, (2 * np.eye(3, 4)).tolist()], ["3m", RIGID], [float("nan"), RIGID]),
    ],
)
def test_what_is_no_scale_and_motion_is_refused(tmp_path: Path, value: object):
    with pytest.raises(MesofaceError, match=r"\[scale, 3×4 Rt\] was expected"):
        Scales(put(tmp_path / "s.json", {"1": {"1": value}})).of(A)


def test_views_keep_their_order(tmp_path: Path):
    write_selection(tmp_path / "s.json", {A: (30, 2, 7)})
    assert json.loads((tmp_path / "s.json").read_text()) == {"1": {"1": [30, 2, 7]}}
    assert Selection(tmp_path / "s.json").of(A) == (30, 2, 7)
    assert Selection(tmp_path / "s.json").of(B) is None


@pytest.mark.parametrize("value", [[1], [1, 1], [1, "2"], [1, -2], [1, 2.5], [True, 2], "12", {"1": 2}])
def test_what_are_no_views_is_refused(tmp_path: Path, value: object):
    with pytest.raises(MesofaceError, match="two or more view numbers"):
        Selection(put(tmp_path / "s.json", {"1": {"1": value}})).of(A)


def test_splits_are_read_as_they_were_written(tmp_path: Path):
    write_splits(tmp_path / "id.json", {"train": [B, A], "eval": []})
    assert json.loads((tmp_path / "id.json").read_text()) == {"train": ["001_01", "012_20"], "eval": []}
    assert read_splits(tmp_path / "id.json") == {"train": [A, B], "eval": []}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"train": ["001_01"], "eval": ["001_01"]}, "001_01 is in train and in eval"),
        ({"train": ["1_1"]}, "train: .*names no capture"),
        ({"train": "001_01"}, "a list of captures"),
        ({"../train": ["001_01"]}, "a list of captures"),
        ({"train": []}, "names no capture"),
        ("[", "is not JSON"),
        ([], "an object was expected"),
    ],
)
def test_bad_splits_are_one_line(tmp_path: Path, content: object, said: str):
    with pytest.raises(MesofaceError, match=said) as caught:
        read_splits(put(tmp_path / "id.json", content))
    assert caught.value.path == tmp_path / "id.json"


def test_a_missing_file_is_named(tmp_path: Path):
    for read in (Scales, Selection, read_splits):
        with pytest.raises(MesofaceError, match="no such file"):
            read(tmp_path / "none.json")


PEOPLE = range(1, 360)
SHARES = {"validation_share": 0.05, "eval_share": 0.1, "seed": 0}


def test_shares_are_kept_and_the_seed_decides():
    splits = split_people(PEOPLE, **SHARES)
    assert Counter(splits.values()) == {"train": 305, "validation": 18, "eval": 36}
    assert splits == split_people(list(reversed(PEOPLE)), **SHARES)
    other = split_people(PEOPLE, **SHARES | {"seed": 1})
    assert Counter(other.values()) == Counter(splits.values())
    assert other != splits


def test_of_three_people_each_split_has_one():
    splits = split_people([4, 9, 11], **SHARES)
    assert sorted(splits.values()) == ["eval", "train", "validation"]


def test_a_share_of_nothing_takes_nobody():
    assert set(split_people(PEOPLE, validation_share=0, eval_share=0, seed=0).values()) == {"train"}
    assert set(split_people([1, 2], **SHARES).values()) == {"train"}


def test_a_growing_data_set_moves_nobody():
    before = split_people(range(1, 101), **SHARES)
    after = split_people(PEOPLE, **SHARES, known=before)
    assert all(after[person] == split for person, split in before.items())
    assert Counter(after.values()) == {"train": 305, "validation": 18, "eval": 36}
