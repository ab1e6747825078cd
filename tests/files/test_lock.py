"""One process at a time works in a folder; where the platform has other locks, those are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mesoface.errors import CaptureError, MesofaceError
from mesoface.files.lock import locked_folder

_HOLD = "from mesoface.files.lock import *\nwith locked_folder('a'):\n print('in', flush=True)\n input()"


def test_another_process_is_refused_until_the_first_one_ends_even_if_killed(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    first.stdout.readline()
    with (
        pytest.raises(CaptureError, match="another process is at work") as error,
        locked_folder(tmp_path / "a", doing="at work", error=CaptureError),
    ):
        pytest.fail("entered")
    assert error.value.path == tmp_path / "a"
    first.kill()
    first.wait()
    with locked_folder(tmp_path / "a") as folder:
        assert list(folder.iterdir()) == []


def test_the_lock_of_windows(tmp_path: Path) -> None:
    """The branch for Windows, with its module stood in for: the file is locked, closed and ignored."""
    script = """
import sys, types
import mesoface.running.workers  # loads what itself asks for the platform
state = set()
def locking(handle, mode, count):
    if state:
        raise PermissionError(13, "in use")
    state.add(handle)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
sys.modules["fcntl"] = None
sys.platform = "win32"
from mesoface.running.resumable import resumable_folder
sys.platform = "linux"
with resumable_folder("set", "recipe.json", {}) as folder:
    try:
        with resumable_folder("set", "recipe.json", {}):
            print("entered")
    except Exception as error:
        print(error)
print(sorted(path.name for path in folder.iterdir()))
"""
    said = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True)
    assert said.splitlines() == [
        "set: another process is filling this folder — wait for it, or name another folder",
        "['.lock', 'recipe.json']",
    ]


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MesofaceError, match="file: cannot be used as a folder"),
        locked_folder(tmp_path / "file"),
    ):
        pytest.fail("entered")
