"""A running batch: its folder, the ends of its captures so far, and the display of its progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mesoface.batch.engine import Ended
from mesoface.batch.job import Attempt, CaptureJob, release_all
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
from mesoface.report.reconstruct_page import command_line
from mesoface.results.files import read_record
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import incomplete, locked_folder

_FILE_READERS = 16  # threads that look at results: they wait for the file system
_SAVE_EVERY = 60.0  # s between summaries that are written on the way
_SAVE_SHARE = 20  # and no more than 1/20 of the time goes into them
_MOST_SHOWN = 12  # attempts that are listed at a time


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
            for number, current in enumerate(pool.map(is_current, present)):
                if current:
                    self.keep(present[number])
                progress(label, number + 1, len(present))
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


class BatchProgress:
    """Counts a batch's captures and draws the counts.

    A terminal shows one display that is updated in place; a log gets one line for every capture that ends.

    Args:
        console: where it is drawn.
        total: number of captures in the batch.
        kept: how many of them were done before this run.
    """

    def __init__(self, console: Console, total: int, kept: int):
        self._console, self._total, self._kept = console, total, kept
        self._begun = time.monotonic()
        self._running: dict[str, float] = {}  # since when, by the captures' ids
        self._ended, self._failed = 0, 0  # captures, in this run

    def started(self, attempt: Attempt) -> None:
        """An attempt begins."""
        self._running[attempt.job.id] = time.monotonic()

    def done(self, ended: Ended) -> None:
        """The last attempt at a capture has ended."""
        name, error = ended.job.job.id, ended.error
        took = time.monotonic() - self._running.pop(name, time.monotonic())
        self._ended += 1
        self._failed += error is not None
        if not self._console.is_terminal or error is not None:
            outcome = "done" if error is None else f"failed: {error}"
            line = f"{self._place()} {name}: {outcome}, {took:.0f} s; {self._left()}"
            self._console.print(Text(line, style="" if error is None else "red"), soft_wrap=True)

    def __rich__(self) -> RenderableType:
        head, now = Table.grid(padding=(0, 2)), time.monotonic()
        counts = f"{self._kept + self._ended - self._failed} done"
        if self._failed:
            counts += f", {self._failed} failed"
        bar = ProgressBar(total=self._total, completed=self._kept + self._ended, width=40)
        head.add_row("Captures", bar, self._place(), counts, self._clock(now - self._begun), self._left())
        rows = [
            Text(f"  {name}  {self._clock(now - since)}", style="dim", overflow="ellipsis", no_wrap=True)
            for name, since in list(self._running.items())[:_MOST_SHOWN]
        ]
        if len(self._running) > _MOST_SHOWN:
            rows.append(Text(f"  and {len(self._running) - _MOST_SHOWN} more", style="dim"))
        return Group(head, *rows)

    def _place(self) -> str:
        return f"{self._kept + self._ended}/{self._total}"

    def _left(self) -> str:
        """How long the rest will take at the pace of this run."""
        if not self._ended:
            return "time left not known yet"
        left = (time.monotonic() - self._begun) / self._ended * (self._total - self._kept - self._ended)
        return f"{self._clock(left)} left"

    @staticmethod
    def _clock(seconds: float) -> str:
        return str(timedelta(seconds=round(seconds)))


@contextmanager
def batch_progress(console: Console, total: int, kept: int) -> Iterator[BatchProgress]:
    """Draw a batch's progress while the context is open."""
    progress = BatchProgress(console, total, kept)
    if not console.is_terminal:
        yield progress
        return
    with Live(progress, console=console, refresh_per_second=2, transient=False):
        yield progress
