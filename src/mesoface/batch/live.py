"""The progress of a batch: how many captures are done, which are being made, how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mesoface.batch.engine import Ended
from mesoface.batch.job import Attempt

_MOST_SHOWN = 12  # attempts that are listed at a time


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
