"""Which attempt at a capture may publish its result: exactly one, whatever other machines still do.

A machine that was given up may be alive behind a broken wire and finish later. So an attempt works under a
name of its own and, to publish, must still hold the capture's claim: a small file that the batch writes
before each attempt. The result then takes its place by one rename, which fails where another result is.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mesoface.batch.job import Attempt, CaptureJob
from mesoface.files.atomic import atomic_file

FOLDER = ".claims"


def claim(attempt: Attempt) -> None:
    """Give the attempt the right to publish, and take it from all others at the same capture."""
    with atomic_file(_file(attempt.job)) as temporary:
        temporary.write_text(attempt.token, encoding="ascii")


def release(job: CaptureJob) -> None:
    """Nobody may publish a result of the capture any more."""
    _file(job).unlink(missing_ok=True)


def release_all(out: Path) -> None:
    """Nobody may publish anything into the batch's folder any more."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def is_held(attempt: Attempt) -> bool:
    """Whether the attempt may publish."""
    try:
        return _file(attempt.job).read_text(encoding="ascii") == attempt.token
    except OSError:
        return False


def publish(attempt: Attempt) -> bool:
    """Put the attempt's folder in the result's place, if it may.

    An older result is moved aside first, in the attempt's own name, and removed after. Should the process end
    between the two, the older result is gone, never half of one: a result is there whole or not at all.

    Returns:
        whether it was done; where not, the attempt's folder is gone.

    Raises:
        OSError: the file system refuses.
    """
    made, final = attempt.folder, attempt.job.result
    old = made.with_name(f".{attempt.job.id}-old-{attempt.token}")
    try:
        if not is_held(attempt):
            return False
        with suppress(FileNotFoundError):  # the usual case: there is none
            os.rename(final, old)
        try:
            os.rename(made, final)
        except OSError:
            if final.exists():
                return False  # another attempt's has come in between
            with suppress(FileNotFoundError):
                os.rename(old, final)
            raise
        return True
    finally:
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(made, ignore_errors=True)


def _file(job: CaptureJob) -> Path:
    return job.out / FOLDER / job.id
