"""What commands that fill a folder job by job have in common: they go on where they stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import InterruptedJobsError
from mesoface.running.progress import ProgressCallback, progress_bars

Workers = Annotated[
    int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
]


@contextmanager
def resumable(out: Path, kept: str = "captures") -> Iterator[ProgressCallback]:
    """Progress bars for work in ``out``; Ctrl-C becomes an error that names what is ``kept``.

    Raises:
        InterruptedJobsError: the work was interrupted.
    """
    try:
        with progress_bars(remaining=True) as progress:
            yield progress
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            f"interrupted; the {kept} that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop
