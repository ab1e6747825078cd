"""Progress reports: a stage calls ``progress(label, done, total)``, and the CLI draws bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Seconds over which the speed is averaged: one step may take a minute.
_SPEED_OVER = 1800.0

ProgressCallback = Callable[[str, int, int], None]


def silent(label: str, done: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def progress_bars(console: Console | None = None, *, remaining: bool = False) -> Iterator[ProgressCallback]:
    """Draw one bar per label while the context is open; on stderr, so that stdout stays clean.

    Args:
        console: where to draw.
        remaining: also show the remaining time, for work whose steps take equally long.
    """
    console = console or Console(stderr=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    if remaining:
        columns.append(TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, speed_estimate_period=_SPEED_OVER) as bars:

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield report
