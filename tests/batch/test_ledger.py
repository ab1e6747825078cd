"""What is seen while a batch runs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mesoface.batch.job import Attempt, CaptureJob, Made
from mesoface.batch.ledger import BatchProgress
from mesoface.running.workers import Outcome


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)


def shown(progress: BatchProgress) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(progress)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_shows_how_far_it_is_what_runs_and_what_failed(job: CaptureJob, terminal: Console) -> None:
    progress = BatchProgress(terminal, total=5, kept=2)
    jobs = [replace(job, id=name) for name in ("anna", "ben", "clara")]
    assert "not known yet" in shown(progress)
    for one in jobs:
        progress.started(Attempt(one))
    progress.done(Outcome(Attempt(jobs[0]), Made({"peak_mb": 1.0}), None))
    progress.done(Outcome(Attempt(jobs[1]), None, "no face"))
    text = shown(progress)
    for words in ("4/5", "3 done, 1 failed", "left", "clara"):
        assert words in text, words
    assert "anna" not in text
    said = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "ben: failed: no face" in said
    assert "anna" not in said


def test_a_log_has_a_line_for_every_capture(job: CaptureJob, console: Console) -> None:
    console.width = 40
    progress = BatchProgress(console, total=30, kept=0)
    for number in range(20):
        one = replace(job, id=f"capture_{number}")
        progress.started(Attempt(one))
        progress.done(Outcome(Attempt(one), Made({}), None))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 20
    assert lines[6].startswith("7/30 capture_6: done")


def test_many_that_run_do_not_fill_the_screen(job: CaptureJob, terminal: Console) -> None:
    progress = BatchProgress(terminal, total=500, kept=0)
    for number in range(100):
        progress.started(Attempt(replace(job, id=f"capture_{number}")))
    assert len(shown(progress).splitlines()) < 20
    assert "88 more" in shown(progress)
