"""Files and folders that appear whole or not at all; folders that one process at a time works in."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mesoface.errors import CaptureError, MesofaceError
from mesoface.files.atomic import atomic_file, atomic_folder, is_leftover, locked_folder, remove_leftovers


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def face(tmp_path):
    """A folder with a file ``old``."""
    (tmp_path / "face").mkdir()
    (tmp_path / "face" / "old").write_text("")
    return tmp_path / "face"


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    with atomic_file(tmp_path / "a" / "map.exr") as temporary:
        assert temporary.suffix == ".exr"  # writers choose the format by it
        temporary.write_text("new")
        assert not (tmp_path / "a" / "map.exr").exists()
    assert (tmp_path / "a" / "map.exr").read_text() == "new"
    (tmp_path / "plain").touch()
    assert (tmp_path / "a" / "map.exr").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(tmp_path / "a") == ["map.exr"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_file_stays_as_it_was_when_the_block_fails(tmp_path, error):
    (tmp_path / "map.exr").write_text("old")

    def fail():
        with atomic_file(tmp_path / "map.exr") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == ["map.exr"]
    assert (tmp_path / "map.exr").read_text() == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_folders_made_above_go_again_when_the_block_fails(tmp_path, make, error):
    def fail():
        with make(tmp_path / "a" / "b" / "c"):
            assert (tmp_path / "a" / "b").is_dir()
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_folders_above_stay_where_somebody_else_uses_them(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "a" / "b" / "c"):
            (tmp_path / "a" / "other").write_text("mine")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path / "a") == ["other"]


def test_a_folder_appears_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "face") as temporary:
        (temporary / "run.json").write_text("{}")
        assert not (tmp_path / "face").exists()
        assert temporary.parent == tmp_path  # the same file system: a rename is enough
    assert names(tmp_path) == ["face"]
    assert names(tmp_path / "face") == ["run.json"]


def test_an_empty_folder_is_no_obstacle(tmp_path):
    (tmp_path / "face").mkdir()
    with atomic_folder(tmp_path / "face") as temporary:
        (temporary / "run.json").write_text("{}")
    assert names(tmp_path / "face") == ["run.json"]


def test_the_folder_one_stands_in(tmp_path, monkeypatch):
    (tmp_path / "face").mkdir()
    monkeypatch.chdir(tmp_path / "face")
    with atomic_folder(".") as temporary:
        (temporary / "run.json").write_text("{}")
    assert names(tmp_path) == ["face"]
    assert names(tmp_path / "face") == ["run.json"]


def test_a_folder_in_the_way_is_replaced_only_when_told(tmp_path, face):
    with pytest.raises(MesofaceError, match="exists already") as error, atomic_folder(face):
        pytest.fail("the work must not begin")
    assert error.value.path == face
    with atomic_folder(face, overwrite=True) as temporary:
        (temporary / "new").write_text("")
        assert names(face) == ["old"]
    assert names(tmp_path) == ["face"]
    assert names(face) == ["new"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_be_put_there(tmp_path, face, monkeypatch):
    replace = Path.replace

    def refuse(self, target):
        if (self / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with (
        pytest.raises(MesofaceError, match="Input/output error"),
        atomic_folder(face, overwrite=True) as temporary,
    ):
        (temporary / "new").write_text("")
    assert names(tmp_path) == ["face"]
    assert names(face) == ["old"]


def test_ctrl_c_cannot_come_between_the_old_folder_and_the_new(tmp_path, face, monkeypatch):
    replace = Path.replace

    def press_ctrl_c(self, target):
        os.kill(os.getpid(), signal.SIGINT)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", press_ctrl_c)
    with atomic_folder(face, overwrite=True) as temporary:
        (temporary / "new").write_text("")
    assert names(tmp_path) == ["face"]
    assert names(face) == ["new"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_works_in_a_thread(tmp_path):
    def write():
        with atomic_folder(tmp_path / "face") as temporary:
            (temporary / "run.json").write_text("{}")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert names(tmp_path / "face") == ["run.json"]


@pytest.mark.parametrize("filename", [None, "inside"])
def test_a_full_disk_is_said_in_words(tmp_path, filename):
    with (
        pytest.raises(MesofaceError, match="the disk is full") as error,
        atomic_folder(tmp_path / "face") as to,
    ):
        raise OSError(errno.ENOSPC, "No space left on device", filename and str(to / filename))
    assert error.value.path == tmp_path / "face"
    assert error.value.remedy
    assert names(tmp_path) == []


def test_what_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for make in (atomic_file, atomic_folder):
        with (
            pytest.raises(MesofaceError, match="cannot be written") as error,
            make(tmp_path / "file" / "face"),
        ):
            pytest.fail("the work must not begin")
        assert error.value.path == tmp_path / "file" / "face"


def test_errors_about_other_files_keep_their_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.npz"), atomic_folder(tmp_path / "a" / "face"):
        Path("/nowhere/model.npz").read_bytes()
    assert names(tmp_path) == []


def test_errors_about_files_inside_name_them_where_they_would_have_been(tmp_path):
    with (
        pytest.raises(MesofaceError, match="disk is full") as error,
        atomic_folder(tmp_path / "face") as folder,
        atomic_file(folder / "maps" / "fine.ply"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.path == tmp_path / "face" / "maps" / "fine.ply"
    with pytest.raises(CaptureError) as error, atomic_folder(tmp_path / "face"):
        raise CaptureError("bad", path="/elsewhere/3.jpg", remedy="mend it")
    assert error.value.path == "/elsewhere/3.jpg"
    assert names(tmp_path) == []


_REPLACE = """
import os, shutil, signal, sys
from pathlib import Path
from mesoface.files.atomic import atomic_folder

steps = int(sys.argv[1])

def counted(call):
    def step(*args, **options):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **options)
    return step

with atomic_folder("face", overwrite=True) as folder:
    for name in "abc":
        (folder / name).write_text("new")
    for module, name in ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree")):
        setattr(module, name, counted(getattr(module, name)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    "restart", [remove_leftovers, lambda folder: atomic_folder(folder / "face").__enter__()]
)
def test_killed_at_any_step_of_a_replacement_the_folder_is_whole_after_the_next_start(tmp_path, restart):
    def content():
        return [file.read_text() for file in sorted((tmp_path / "face").iterdir())]

    seen = []
    for steps in range(20):
        shutil.rmtree(tmp_path / "face", ignore_errors=True)
        (tmp_path / "face").mkdir()
        for name in "abc":
            (tmp_path / "face" / name).write_text("old")
        ended = subprocess.run([sys.executable, "-c", _REPLACE, str(steps)], cwd=tmp_path, check=False)
        if (tmp_path / "face").exists():
            assert content() in (["old"] * 3, ["new"] * 3)
        with suppress(MesofaceError):  # atomic_folder without overwrite: there is a whole folder
            restart(tmp_path)
        assert content() in (["old"] * 3, ["new"] * 3)
        seen.append(content()[0])
        remove_leftovers(tmp_path)
        assert names(tmp_path) == ["face"]
        if not ended.returncode:
            break
    assert seen[0] == seen[1] == "old", "killed before the first and before the second rename"
    assert seen[2] == seen[-1] == "new"
    assert not ended.returncode


def test_a_folder_that_was_set_aside_is_not_restored_over_a_newer_one(tmp_path):
    for name in ("face", ".face~0123456789ab", ".other~0123456789ab", ".half-0123456789ab"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    assert all(is_leftover(path) for path in tmp_path.iterdir() if path.name != "face")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["face", "other"]
    assert (tmp_path / "face" / "name").read_text() == "face"
    assert (tmp_path / "other" / "name").read_text() == ".other~0123456789ab"


_HOLD = "from mesoface.files.atomic import *\nwith locked_folder('a'):\n print('in', flush=True)\n input()"


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
import cv2, multiprocessing.connection, rich.progress  # what they import is their affair
state = set()
def locking(handle, mode, count):
    if state:
        raise PermissionError(13, "in use")
    state.add(handle)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
sys.modules["fcntl"] = None
sys.platform = "win32"
from mesoface.running.workers import resumable_folder
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
