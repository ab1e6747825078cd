"""The folder of a running batch, and the ends of its captures so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mesoface.batch.job import CaptureJob, release_all
from mesoface.batch.provenance import is_current
from mesoface.batch.summary import (
    CaptureRow,
    check_folder,
    done_row,
    failed_row,
    write_csv,
    write_json,
    write_page,
)
from mesoface.errors import MesofaceError
from mesoface.files.atomic import remove_leftovers
from mesoface.report.command_line import command_line
from mesoface.results.folder import read_record
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.resumable import incomplete, locked_folder

_FILE_READERS = 16  # threads that look at results: they wait for the file system
_SAVE_EVERY = 60.0  # s between summaries that are written on the way
_SAVE_SHARE = 20  # and no more than 1/20 of the time goes into them


@contextmanager
def open_ledger(out: Path, jobs: Sequence[CaptureJob], *, resume: bool, kind: str) -> Iterator[Ledger]:
    """The ledger of a batch; its folder is checked, cleaned, and locked for the block.

    The summary is written however the block ends.

    Args:
        out: the batch's folder; made when it does not exist.
        jobs: its captures.
        resume: whether a batch may be in the folder already.
        kind: what the captures are, in the plural, for people.

    Raises:
        MesofaceError: the folder holds other things, another process fills it, or it cannot be written.
        IncompleteError: some captures failed; all others are done.
    """
    with locked_folder(out):
        check_folder(out, jobs, resume=resume)
        remove_leftovers(out)
        release_all(out)
        ledger = Ledger(out, jobs)
        ledger.save()  # from here on the folder is known as a batch's
        try:
            yield ledger
        except BaseException:
            with suppress(MesofaceError):  # the disk may be what is wrong
                ledger.save()
            raise
        else:
            ledger.save()
        finally:
            release_all(out)
            remove_leftovers(out)
    if failed := [f"{row.id} ({row.error})" for row in ledger.rows() if row.error is not None]:
        remedy = "batch.html lists all; mend it and run the same command with --resume, the others are kept"
        raise incomplete(failed, len(jobs), kind, path=out, remedy=remedy)


class Ledger:
    """The captures of a batch and how they ended.

    Args:
        out: the batch's folder.
        jobs: its captures.
    """

    def __init__(self, out: Path, jobs: Sequence[CaptureJob]):
        self.out, self.jobs, self.settings = out, jobs, jobs[0].settings
        self._rows: dict[str, CaptureRow] = {}
        self._begun, self._ended = time.monotonic(), 0  # of this run
        self._saved, self._save_takes = time.monotonic(), 0.0

    def keep_current(self, progress: ProgressCallback = silent) -> None:
        """Keep the captures whose results are current; the run is timed from here."""
        present = [job for job in self.jobs if job.result.is_dir()]
        if not present:
            return
        label = "Looking at results"
        progress(label, 0, len(present))
        with ThreadPoolExecutor(_FILE_READERS) as pool:
            for number, (job, current) in enumerate(
                zip(present, pool.map(is_current, present), strict=True), 1
            ):
                if current:
                    self.keep(job)
                progress(label, number, len(present))
        self._begun = time.monotonic()

    def keep(self, job: CaptureJob) -> None:
        """Count a capture as done whose result is there already."""
        self._rows[job.id] = done_row(job, read_record(job.result))

    def add(self, job: CaptureJob, record: Mapping[str, Any] | None, error: object = None) -> None:
        """Count a capture that ended in this run, and save the summary when it is old enough.

        Args:
            job: the capture.
            record: its result's ``run.json``; None when there is none.
            error: why there is no result.
        """
        self._ended += 1
        if record is not None:
            self._rows[job.id] = done_row(job, record)
        else:
            kept = " (an older result is still in its folder)" if job.result.is_dir() else ""
            self._rows[job.id] = failed_row(job, f"{error}{kept}")
        if time.monotonic() - self._saved > max(_SAVE_EVERY, _SAVE_SHARE * self._save_takes):
            self.save()

    def left(self) -> list[CaptureJob]:
        """The captures that are still to be done."""
        return [job for job in self.jobs if job.id not in self._rows]

    def rows(self) -> list[CaptureRow]:
        """How the captures ended, in the order of the inputs."""
        return [self._rows[job.id] for job in self.jobs if job.id in self._rows]

    def largest_peak_mb(self) -> float | None:
        """Memory of the largest capture so far, MB."""
        return max((row.peak_mb for row in self._rows.values() if row.peak_mb is not None), default=None)

    def save(self) -> None:
        """Write the summary of what there is; it can be read while the batch runs."""
        begun, rows, total = time.monotonic(), self.rows(), len(self.jobs)
        elapsed = begun - self._begun
        timing = {"seconds": round(elapsed, 1), "ended": self._ended}
        write_json(self.out, rows, total=total, recipe=self.jobs[0].recipe, timing=timing)
        write_csv(self.out / "batch.csv", rows)
        command = command_line(Path("CAPTURE"), self.settings)
        write_page(self.out, rows, total=total, elapsed=elapsed, made_now=self._ended, command=command)
        self._saved = time.monotonic()
        self._save_takes = self._saved - begun
