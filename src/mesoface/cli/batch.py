"""``mesoface batch``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mesoface.batch.job import BatchOptions
from mesoface.cli.options import FormatOption, takes
from mesoface.config import INPUT, Settings
from mesoface.errors import InterruptedJobsError, MesofaceError


@takes({"threads": 1}, settings=Settings, options=BatchOptions)
def command(
    settings: Settings,
    options: BatchOptions,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Captures; folders that hold some, at any depth; text files that list some, a path a line.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the results, one folder a capture.", rich_help_panel="Batch"
        ),
    ],
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="The captures are the frames of a multi-view video, in their order: one person, the same "
            "cameras. The identity is solved once, and each frame starts from the one before: faster, and "
            "all frames share their UVs. A frame that cannot be followed (a cut) is measured afresh; "
            "sequence.json lists these. One frame at a time: --engine, --workers, --retries and "
            "--time-limit have no effect.",
            rich_help_panel="Batch",
        ),
    ] = False,
    format: FormatOption = None,
    truth_name: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File in each capture's folder with its true surface, in mm, where that is known: the "
            "summary then has the errors.",
            rich_help_panel=INPUT,
        ),
    ] = None,
) -> None:
    """Reconstruct many captures; one that fails, crashes or hangs stops no other.

    Each capture's result is what `mesoface reconstruct` makes, in a folder of its own below --out. Beside
    them batch.html, batch.csv and batch.json say what came of each: pictures, figures, reasons of failures.
    The command can be stopped in any way, and goes on with --resume.

    Exit code 3 when some captures failed; the others are done.

    Example: `mesoface batch shoot/ --out faces/`

    A list, on a cluster, with what is there kept:
    `mesoface batch list.txt --out /shared/faces --engine ray --address 10.0.0.1:6379 --resume`

    A video, its frames in the order of the list:
    `mesoface batch frames.txt --out faces/ --sequence --threads 2`
    """
    from mesoface.batch.run import run_batch
    from mesoface.sequence.run import run_sequence

    if sequence and options.engine != "local":
        raise MesofaceError(
            "a sequence is one frame after another, on one machine",
            remedy="leave out --engine, or --sequence",
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # queues of clusters end jobs so: as Ctrl-C
    try:
        run = run_sequence if sequence else run_batch
        rows = run(inputs, out, settings=settings, options=options, format=format, truth=truth_name)
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the captures that were complete are kept",
            path=out,
            remedy="run the same command with --resume to go on",
        ) from stop
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"captures: {len(rows)} done", markup=False)
    console.print(f"summary: {out / 'batch.html'}", markup=False)
