"""What a person sees while a batch runs: how far it is, what is being made, when it will be over."""

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

from mesoface.batch.job import Attempt
from mesoface.batch.schedule import Done

_MOST_SHOWN = 12  # attempts that are listed at a time


class BatchProgress:
    """Counts a batch's captures, and draws them.

    In a terminal one picture stays in its place; elsewhere, in a log, every capture that ends is a line.

    Args:
        console: where to.
        total: captures of the batch.
        kept: of which so many were done before.
    """

    def __init__(self, console: Console, total: int, kept: int):
        self._console, self._total, self._kept = console, total, kept
        self._begun = time.monotonic()
        self._running: dict[str, float] = {}  # since when, by the captures' ids
        self.ended = 0
        """Captures that came to an end in this run."""
        self.failed = 0
        """Of these, those without a result."""

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun

    def started(self, attempt: Attempt) -> None:
        """An attempt begins."""
        self._running[attempt.job.id] = time.monotonic()

    def done(self, done: Done) -> None:
        """A capture came to its end."""
        took = time.monotonic() - self._running.pop(done.job.id, time.monotonic())
        self.ended += 1
        self.failed += done.error is not None
        outcome = "done" if done.error is None else f"failed: {done.error}"
        if not self._console.is_terminal or done.error is not None:
            style = "" if done.error is None else "red"
            line = f"{self._place()} {done.job.id}: {outcome}, {took:.0f} s; {self._left()}"
            self._console.print(Text(line, style=style), soft_wrap=True)

    def __rich__(self) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        counts = f"{self._kept + self.ended - self.failed} done"
        if self.failed:
            counts += f", {self.failed} failed"
        bar = ProgressBar(total=self._total, completed=self._kept + self.ended, width=40)
        head.add_row("Captures", bar, self._place(), counts, self._clock(self.elapsed), self._left())
        now = time.monotonic()
        rows = [
            Text(f"  {name}  {self._clock(now - since)}", style="dim", overflow="ellipsis", no_wrap=True)
            for name, since in list(self._running.items())[:_MOST_SHOWN]
        ]
        if len(self._running) > _MOST_SHOWN:
            rows.append(Text(f"  and {len(self._running) - _MOST_SHOWN} more", style="dim"))
        return Group(head, *rows)

    def _place(self) -> str:
        return f"{self._kept + self.ended}/{self._total}"

    def _left(self) -> str:
        """How long it will take still, going by this run."""
        if not self.ended:
            return "time left not known yet"
        left = (self._total - self._kept - self.ended) * self.elapsed / self.ended
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
