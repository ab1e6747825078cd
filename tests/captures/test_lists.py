"""Lists of captures; which captures are found below an input, and their ids."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mesoface.captures.lists import find_captures, read_capture_list, write_capture_list
from mesoface.errors import MesofaceError


@pytest.fixture
def shoot(tmp_path: Path, small_capture: Path) -> Path:
    """Captures at several depths, and what is none."""
    root = tmp_path / "shoot"
    for name in ("anna/1_neutral", "anna/2_smile", "ben"):
        shutil.copytree(small_capture, root / name)
    (root / "notes").mkdir()
    (root / "notes" / "lights.txt").write_text("soft")
    return root


def test_a_tree_is_searched(shoot: Path, tmp_path: Path) -> None:
    folders = {"anna-1_neutral": "anna/1_neutral", "anna-2_smile": "anna/2_smile", "ben": "ben"}
    found = find_captures([shoot], out=tmp_path / "out")
    assert found == {name: shoot / folder for name, folder in folders.items()}


def test_a_capture_without_its_calibration_is_not_missed(shoot: Path, tmp_path: Path) -> None:
    (shoot / "ben" / "params.json").unlink()
    assert "ben" in find_captures([shoot], out=tmp_path / "out")


def test_photos_beside_a_capture_are_none(shoot: Path, tmp_path: Path) -> None:
    for number in range(3):
        shutil.copy(shoot / "ben" / "0.jpg", shoot / "anna" / f"behind_the_scenes_{number}.jpg")
    assert set(find_captures([shoot], out=tmp_path / "out")) == {"anna-1_neutral", "anna-2_smile", "ben"}


def test_results_are_no_captures(shoot: Path, tmp_path: Path) -> None:
    for name, mark in (("old_result", "run.json"), ("old_batch", "batch.json")):
        shutil.copytree(shoot / "ben", shoot / name)
        (shoot / name / mark).write_text("{}")
    shutil.copytree(shoot / "ben", shoot / "out" / "inside")
    shutil.copytree(shoot / "ben", shoot / ".hidden")
    assert len(find_captures([shoot], out=shoot / "out")) == 3


def test_a_list_names_captures_whether_they_exist_or_not(shoot: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    lines = ["# the first day", "../shoot/ben  # twice", "../shoot/nobody", f"{shoot}/anna/2_smile"]
    (tmp_path / "lists" / "day.txt").write_text("\n".join(lines))
    found = find_captures([tmp_path / "lists" / "day.txt"], out=tmp_path / "out")
    assert found == {
        "shoot-ben": shoot / "ben",
        "shoot-nobody": shoot / "nobody",
        "shoot-anna-2_smile": shoot / "anna" / "2_smile",
    }


def test_a_capture_that_is_named_twice_is_one(shoot: Path, tmp_path: Path) -> None:
    found = find_captures([shoot / "ben", shoot], out=tmp_path / "out")
    assert list(found) == ["ben", "anna-1_neutral", "anna-2_smile"]


def test_captures_of_the_same_name_are_told_apart(shoot: Path, tmp_path: Path, small_capture: Path) -> None:
    other = tmp_path / "second day" / "ben"
    shutil.copytree(small_capture, other)
    found = find_captures([shoot, other.parent], out=tmp_path / "out")
    bens = [name for name in found if name.startswith("ben")]
    assert len(bens) == 2
    assert all(name.startswith("ben-") and len(name) == len("ben-01234567") for name in bens)
    assert found == find_captures([shoot, other.parent], out=tmp_path / "out")


@pytest.mark.parametrize("name", ["a b", "été", "x" * 200, "-rf", "a;rm", "é" * 90])
def test_ids_are_names_of_folders(name: str, tmp_path: Path, small_capture: Path) -> None:
    shutil.copytree(small_capture, tmp_path / "in" / name)
    (found,) = find_captures([tmp_path / "in"], out=tmp_path / "out")
    assert len(found.encode()) <= 130
    assert not set(found) & set(" /;\0")
    assert not found.startswith((".", "-"))


def test_a_capture_that_may_not_be_looked_into_is_one(shoot: Path, tmp_path: Path, monkeypatch) -> None:
    from mesoface.captures import lists

    class Closed:
        def detect(self, path: Path) -> bool:
            if path.name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return False

    (shoot / "closed").mkdir()
    monkeypatch.setattr(lists, "FORMATS", {"closed": Closed(), **lists.FORMATS})
    assert "closed" in find_captures([shoot], out=tmp_path / "out")


def test_inputs_that_are_none_are_named(shoot: Path, tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for path, said in (
        (tmp_path / "nowhere", "does not exist"),
        (shoot / "notes", "holds no capture"),
        (tmp_path / "binary.txt", "not text"),
    ):
        with pytest.raises(MesofaceError, match=said) as caught:
            find_captures([shoot, path], out=tmp_path / "out")
        assert caught.value.path == path


@pytest.mark.parametrize("out", ["ben", "ben/faces", "."])
def test_results_are_not_written_into_captures(shoot: Path, out: str) -> None:
    with pytest.raises(MesofaceError, match="into the capture"):
        find_captures([shoot / "ben"], out=Path(os.path.normpath(shoot / out)))


def test_lists_are_read_as_written(tmp_path: Path):
    folders = [tmp_path / "images" / "001" / "01", tmp_path / "a#b"]
    write_capture_list(tmp_path / "lists" / "train.txt", folders, comment="train\nof two")
    lines = (tmp_path / "lists" / "train.txt").read_text().splitlines()
    assert lines == ["# train", "# of two", "../images/001/01", "../a#b"]
    assert [f.resolve() for f in read_capture_list(tmp_path / "lists" / "train.txt")] == folders


def test_comments_and_empty_lines_are_no_captures(tmp_path: Path):
    (tmp_path / "list.txt").write_text("# a list\n\n  one  # the first\n/two\n")
    assert read_capture_list(tmp_path / "list.txt") == [tmp_path / "one", Path("/two")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# nothing\n", "names no capture"),
        (b"one\ntwo\none\n", "2 times"),
        (b"\xff\xfe\x00", "is not text"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_list_is_one_line(tmp_path: Path, content: bytes | None, said: str):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(MesofaceError, match=said) as caught:
        read_capture_list(tmp_path / "list.txt")
    assert caught.value.path == tmp_path / "list.txt"
    assert caught.value.remedy
