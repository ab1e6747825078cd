"""synth-dataset: options, ranges, interruption."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time


def test_makes_a_set_and_says_where(command, place):
    (place / "r.json").write_text('{"views": [2, 2], "longest_side": [100, 120], "detail_mm": [5, 5]}')
    run = command("synth-dataset", "--out", place / "set", "--count", 1, "--ranges", place / "r.json")
    assert run.code == 0, run.err
    assert str(place / "set") in run.out
    said = json.loads((place / "set" / "000000" / "truth.json").read_text())
    assert said["settings"]["views"] == 2
    assert said["model"] == "generic"


def test_refuses_what_cannot_be(place, refused):
    (place / "r.json").write_text('{"views": [0, 2]}')
    refused("views", "synth-dataset", "--out", place / "set", "--count", 1, "--ranges", place / "r.json")
    refused("--count", "synth-dataset", "--out", place / "set", "--count", 0)
    refused("nobody", "synth-dataset", "--out", place / "set", "--count", 1, "--face-model", "nobody")
    refused("r.json", "synth-dataset", "--out", place / "r.json", "--count", 1)
    refused("place", "synth-dataset", "--out", place, "--count", 1)
    assert [path.name for path in place.iterdir()] == ["r.json"]


def test_ctrl_c_keeps_complete_captures_and_says_how_to_go_on(place):
    screen, theirs = pty.openpty()
    os.set_blocking(screen, False)
    out = place / "set"
    code = "from mesoface.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "synth-dataset", "--out", out, "--count", "3", "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    end = time.monotonic() + 120
    while not list(out.glob(".0*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group
    assert process.wait(120) == 130
    shown = b""
    while True:
        try:
            data = os.read(screen, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(screen)
    assert b"run the same command again" in shown
    assert b"Traceback" not in shown
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "dataset.json"]
