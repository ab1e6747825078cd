"""Lists of captures."""

from pathlib import Path

import pytest

from mesoface.captures.lists import read_capture_list, write_capture_list
from mesoface.errors import MesofaceError


def test_what_is_written_is_read_again(tmp_path: Path):
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
