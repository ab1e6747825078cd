"""What came of a batch's captures so far: what is done already, what is left, the summary of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mesoface.batch.job import CaptureJob
from mesoface.batch.page import write_page
from mesoface.batch.provenance import is_current
from mesoface.batch.schedule import Done
from mesoface.batch.summary import CaptureRow, done_row, failed_row, write_csv, write_json
from mesoface.config import Settings
from mesoface.report.command_line import command_line
from mesoface.results.folder import read_record
from mesoface.running.progress import ProgressCallback, silent

_FILE_READERS = 16  # threads that look at results: they wait for the file system
_SAVE_EVERY = 60.0  # s between summaries that are written on the way
_SAVE_SHARE = 20  # and no more than 1/20 of the time goes into them


class Ledger:
    """The captures of a batch and what came of them.

    Args:
        out: the batch's folder.
        jobs: its captures.
        settings: of the reconstructions.
    """

    def __init__(self, out: Path, jobs: Sequence[CaptureJob], settings: Settings):
        self.out, self.jobs, self.settings = out, jobs, settings
        self._rows: dict[str, CaptureRow] = {}
        self._saved, self._save_takes = time.monotonic(), 0.0

    def keep_current(self, progress: ProgressCallback = silent) -> None:
        """Count those as done whose results are there already."""
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
                    self._rows[job.id] = done_row(job, read_record(job.result))
                progress(label, number, len(present))

    def add(self, done: Done) -> None:
        """A capture came to its end."""
        job = done.job
        if done.record is not None:
            self._rows[job.id] = done_row(job, done.record)
            return
        kept = " (an older result is still in its folder)" if job.result.is_dir() else ""
        self._rows[job.id] = failed_row(job, f"{done.error}{kept}")

    def left(self) -> list[CaptureJob]:
        """The captures that are still to be done."""
        return [job for job in self.jobs if job.id not in self._rows]

    def rows(self) -> list[CaptureRow]:
        """What came of the captures, in the order of the inputs."""
        return [self._rows[job.id] for job in self.jobs if job.id in self._rows]

    def largest_peak_mb(self) -> float | None:
        """Memory of the largest capture so far, MB."""
        return max((row.peak_mb for row in self._rows.values() if row.peak_mb is not None), default=None)

    def save_now_and_then(self, *, elapsed: float, ended: int) -> None:
        """Write the summary when it is old enough: it can be looked at while the batch runs."""
        if time.monotonic() - self._saved > max(_SAVE_EVERY, _SAVE_SHARE * self._save_takes):
            self.save(elapsed=elapsed, ended=ended)

    def save(self, *, elapsed: float, ended: int) -> None:
        """Write the summary of what there is, of a run of so many seconds in which so many captures ended."""
        begun, rows = time.monotonic(), self.rows()
        total = len(self.jobs)
        timing = {"seconds": round(elapsed, 1), "ended": ended}
        write_json(self.out, rows, total=total, recipe=self.jobs[0].recipe, timing=timing)
        write_csv(self.out / "batch.csv", rows)
        command = command_line(Path("CAPTURE"), self.settings)
        write_page(self.out, rows, total=total, elapsed=elapsed, made_now=ended, command=command)
        self._saved = time.monotonic()
        self._save_takes = self._saved - begun
