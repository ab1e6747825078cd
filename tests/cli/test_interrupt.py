"""Ctrl-C, in a process and a terminal of their own: exit code 130, nothing left, the cursor back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

LONGEST = 180.0  # s, before a hanging command is taken for one
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"  # the cursor


class Terminal:
    """The command with its standard error in a pseudo-terminal, as a person would see it."""

    def __init__(self, *arguments: object):
        self._screen, theirs = pty.openpty()
        os.set_blocking(self._screen, False)
        command = [sys.executable, "-c", "from mesoface.cli import main; main()", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.shown = b""

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Read what is shown until ``reached()``, or the process ends."""
        end = time.monotonic() + LONGEST
        while not reached() and self.process.poll() is None and time.monotonic() < end:
            self._read()
            time.sleep(0.002)
        self._read()

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.wait_until(lambda: False)
        return self.process.wait(LONGEST)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def _read(self) -> None:
        with suppress(OSError):  # nothing there yet, or the process has ended
            while data := os.read(self._screen, 65536):
                self.shown += data


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened = []

    def start(*arguments: object) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def check_end(terminal: Terminal, code: int) -> None:
    assert code == 130, terminal.shown.decode()
    assert terminal.shown.rfind(SHOW) > terminal.shown.rfind(HIDE), "the cursor is hidden"
    assert terminal.shown.decode().rstrip().endswith("interrupted; nothing was written")
    assert b"Traceback" not in terminal.shown


def test_ctrl_c_while_matching(terminal, copy_sample, place):
    run = terminal("reconstruct", copy_sample(), "--out", place / "face", "--scale", 1, "--threads", 2)
    run.wait_until(lambda: b"Matching" in run.shown)
    check_end(run, run.interrupt())
    assert not list(place.iterdir())


def test_ctrl_c_while_writing_keeps_the_older_result(terminal, command, copy_sample, place):
    """The temporary folder, which exists then, goes as well; what was to be overwritten stays."""
    copy, out = copy_sample(["3", "4"]), place / "face"
    out.mkdir()
    (out / "run.json").write_text("{}")
    run = terminal("reconstruct", copy, "--out", out, "--scale", 1, "--until", "base", "--overwrite")
    run.wait_until(lambda: len(list(place.iterdir())) > 1)
    assert len(list(place.iterdir())) == 2, "interrupted too late to mean anything"
    check_end(run, run.interrupt())
    assert [path.name for path in place.iterdir()] == ["face"]
    assert (out / "run.json").read_text() == "{}"


def test_ctrl_c_while_making_a_capture_leaves_no_folder(terminal, place):
    run = terminal("synth", "--out", place / "new" / "head", "--views", 2)
    run.wait_until(lambda: (place / "new").exists())
    check_end(run, run.interrupt())
    assert not list(Path(place).iterdir())
