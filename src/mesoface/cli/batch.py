"""``mesoface batch``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

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
            help="Captures; folders with captures at any depth; lists of captures, one path per line.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the results, one folder per capture.", rich_help_panel="Batch"
        ),
    ],
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="The captures are the frames of a multi-view video, in order: one person, the same cameras. "
            "The identity is solved once, and each frame starts from the previous one: this is faster, and "
            "all frames share their UVs. A frame that cannot be tracked (a cut) is measured afresh; "
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
            help="File in each capture's folder with its true surface, in mm, where it is known: the summary "
            "then has the errors.",
            rich_help_panel=INPUT,
        ),
    ] = None,
) -> None:
    """Reconstruct many captures; one that fails, crashes or hangs does not stop the others.

    Each capture gets the result of `mesoface reconstruct`, in its own folder below --out. batch.html,
    batch.csv and batch.json beside them summarise all: pictures, figures, reasons of failures. The command
    can be interrupted at any time; --resume continues it.

    Exit code 3 if some captures failed; the others are done.

    Example: `mesoface batch shoot/ --out faces/`

    A list, on a cluster, keeping finished results:
    `mesoface batch list.txt --out /shared/faces --engine ray --address 10.0.0.1:6379 --resume`

    A video, its frames in the order of the list:
    `mesoface batch frames.txt --out faces/ --sequence --threads 2`
    """
    from mesoface.batch.run import run_batch
    from mesoface.sequence.run import run_sequence

    if sequence and options.engine != "local":
        raise MesofaceError(
            "a sequence runs on one machine, one frame after another",
            remedy="leave out --engine, or --sequence",
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clusters end jobs with it: handled as Ctrl-C
    try:
        run = run_sequence if sequence else run_batch
        rows = run(inputs, out, settings=settings, options=options, format=format, truth=truth_name)
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the captures that were complete are kept",
            path=out,
            remedy="run the same command with --resume to go on",
        ) from stop
    typer.echo(f"captures: {len(rows)} done\nsummary: {out / 'batch.html'}")
