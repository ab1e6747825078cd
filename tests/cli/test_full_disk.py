"""A disk that fills up while the result is written."""

from __future__ import annotations

import errno
import subprocess

import pytest

BASE = ("--scale", 1, "--until", "base")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB; only root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], capture_output=True)
    if made.returncode:
        pytest.skip("no file system can be mounted here: that takes root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_leaves_nothing(small_disk, copy_sample, refused):
    out = small_disk / "face"
    line = refused(out, "reconstruct", copy_sample(["3", "4"]), "--out", out, *BASE)
    assert "the disk is full" in line
    assert not list(small_disk.iterdir())


def test_a_disk_that_fills_up_at_the_last_file_leaves_nothing(copy_sample, place, refused, monkeypatch):
    """The full disk is simulated: the report's writing fails as the system call would."""

    def fail(path, *_):
        path.write_text("<html>")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mesoface.save.write_report", fail)
    line = refused(place, "reconstruct", copy_sample(["3", "4"]), "--out", place / "new" / "face", *BASE)
    assert "the disk is full" in line
    assert not list(place.iterdir()), "the folder above is made, and must go again"


def test_a_full_disk_spares_the_older_result(small_disk, copy_sample, refused):
    out = small_disk / "face"
    out.mkdir()
    (out / "run.json").write_text("{}")
    refused(out, "reconstruct", copy_sample(["3", "4"]), "--out", out, *BASE, "--overwrite")
    assert [path.name for path in small_disk.iterdir()] == ["face"]
    assert (out / "run.json").read_text() == "{}"


def test_a_page_on_a_full_disk(small_disk, copy_sample, command):
    (small_disk / "filler").write_bytes(bytes(280_000))
    run = command("inspect", copy_sample(["3", "4"]), "--html", small_disk / "page.html")
    assert run.code == 2
    assert "page.html: cannot be written: the disk is full" in run.said[-1]
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
