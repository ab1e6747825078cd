"""An attempt that takes no time: it reads a capture's ``plan.txt`` for what shall become of it.

Worker processes import this module by its name; ``conftest.py`` puts its folder on their path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from mesoface.batch.job import Attempt, Made
from mesoface.batch.provenance import capture_input, write_made_from
from mesoface.errors import CaptureError
from mesoface.results.files import FORMAT

RECORD = {
    "format": FORMAT,
    "settings": {},
    "capture": {"views": ["0", "1"]},
    "scale": {"source": "as told"},
    "landmark_error_px": 1.25,
    "seconds": 0.5,
    "peak_mb": 300.0,
    "warnings": [],
}


def attempt(attempt: Attempt) -> Made:
    """Do what the plan says: words that are met in order, each once over all attempts at a capture."""
    job = attempt.job
    word = _next_word(job.capture)
    if word == "refuse":
        raise CaptureError("the photo is torn", path=job.capture / "0.jpg", remedy="take another")
    if word == "raise":
        raise RuntimeError("a cable came loose")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hang":
        time.sleep(600)
    if word == "full":
        return Made(None, "the disk is full")
    if word == "big":
        hold = np.ones((256 << 20,), np.uint8)
        time.sleep(1.0)
        del hold
    if word == "slow":
        time.sleep(1.0)
    return make_result(attempt)


def make_result(attempt: Attempt) -> Made:
    """A result of a few bytes, published as a real one."""
    folder, job = attempt.folder, attempt.job
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RECORD))
    (folder / "report.html").write_text(f"<p>{job.id}</p>")
    write_made_from(folder, job.recipe, capture_input(job.capture, job.format, job.truth_path))
    published = attempt.publish()
    shutil.rmtree(folder, ignore_errors=True)
    if published:
        with (job.out.parent / "published.txt").open("a") as log:  # one short line: appended as a whole
            log.write(f"{job.id}\n")
    return Made(RECORD) if published else Made(None, "another attempt may write it")


def _next_word(capture: Path) -> str:
    plan = capture / "plan.txt"
    words = plan.read_text().split() if plan.is_file() else []
    if not words:
        return ""
    if len(words) > 1 or words[0].endswith("-once"):
        plan.write_text(" ".join(words[1:]))
    return words[0].removesuffix("-once")
