"""Which attempt at a capture may publish its result: exactly one, whatever other machines still do.

A machine that was given up may only have lost its connection and finish later. Therefore an attempt works in
a folder with a name of its own and, to publish it, must still hold the capture's claim: a small file that the
batch writes before each attempt. The result takes its place by a rename, which fails where another result is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mesoface.batch.job import Attempt, CaptureJob
from mesoface.files.atomic import atomic_file, put_in_place

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

    See :func:`mesoface.files.atomic.put_in_place` for what happens to an older result.

    Returns:
        whether it was done; where not, the attempt's folder is gone.

    Raises:
        OSError: the file system refuses; an older result stays.
    """
    try:
        if not is_held(attempt):
            return False
        put_in_place(attempt.folder, attempt.job.result)
        return True
    except FileExistsError:
        return False  # the result of another attempt
    finally:
        shutil.rmtree(attempt.folder, ignore_errors=True)


def _file(job: CaptureJob) -> Path:
    return job.out / FOLDER / job.id
