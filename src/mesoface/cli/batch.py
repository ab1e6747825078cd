"""``mesoface batch``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mesoface.cli.settings_options import INPUT, FormatOption, takes_settings
from mesoface.config import Settings
from mesoface.errors import InterruptedJobsError, MesofaceError

_BATCH, _MACHINES = "Batch", "Machines"


@takes_settings(threads=1)
def command(
    settings: Settings,
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
            "--out", "-o", help="Folder for the results, a folder for each capture.", rich_help_panel=_BATCH
        ),
    ],
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the batch in --out. Results that are complete and were made with the same "
            "settings, weights and version from the same photos are kept; all others are made again.",
            rich_help_panel=_BATCH,
        ),
    ] = False,
    retries: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=100,
            help="Further attempts at a capture whose process failed, died or hung; at the end, when all "
            "others are done. A capture that is at fault itself is not tried again.",
            rich_help_panel=_BATCH,
        ),
    ] = 1,
    time_limit: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            min=0.01,
            max=100_000,
            help="End an attempt at a capture that takes longer.",
            rich_help_panel=_BATCH,
        ),
    ] = 30.0,
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="The captures are the frames of a multi-view video, in their order: one person, the same "
            "cameras. Who it is is solved once, and each frame starts from the one before: quicker, and all "
            "frames share their UVs. A frame that cannot be followed (a cut) is measured afresh; "
            "sequence.json says where. One frame at a time: of --engine, --workers, --retries and "
            "--time-limit nothing is used.",
            rich_help_panel=_BATCH,
        ),
    ] = False,
    reports: Annotated[
        Literal["all", "afresh", "none"],
        typer.Option(
            metavar="all|afresh|none",
            help="Which results get a report.html of their own, some 8 MB that take seconds to draw. afresh: "
            "all but frames of a sequence that follow the one before. batch.html has a picture of each.",
            rich_help_panel=_BATCH,
        ),
    ] = "afresh",
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
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            metavar="local|ray",
            help="local: processes of this machine. ray: the machines of a Ray cluster, which need the same "
            "mesoface with `mesoface[ray]`, and inputs and --out under the same paths on a shared file "
            "system.",
            rich_help_panel=_MACHINES,
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1024,
            help="Captures at a time on this machine, fewer where memory is short. Left out: cores divided "
            "by --threads.",
            show_default=False,
            rich_help_panel=_MACHINES,
        ),
    ] = None,
    memory_per_capture: Annotated[
        float | None,
        typer.Option(
            metavar="MB",
            min=1,
            help="Memory that a capture needs, until the first one has been measured. Left out: that of the "
            "results that are there, or 3000.",
            show_default=False,
            rich_help_panel=_MACHINES,
        ),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Of the Ray cluster; auto: the one that this machine is part of.",
            rich_help_panel=_MACHINES,
        ),
    ] = "auto",
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
    from mesoface.batch.run import BatchOptions, run_batch
    from mesoface.sequence.run import run_sequence

    if sequence and engine != "local":
        raise MesofaceError(
            "a sequence is one frame after another, on one machine",
            remedy="leave out --engine, or --sequence",
        )

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # queues of clusters end jobs so: as Ctrl-C
    options = BatchOptions(
        resume=resume,
        engine=engine,
        address=address,
        workers=workers,
        memory_mb=memory_per_capture,
        limit=60 * time_limit,
        retries=retries,
        reports=reports,
    )
    try:
        if sequence:
            rows = run_sequence(
                inputs,
                out,
                settings=settings,
                resume=resume,
                format=format,
                truth=truth_name,
                reports=reports,
            )
        else:
            rows = run_batch(inputs, out, settings=settings, options=options, format=format, truth=truth_name)
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the captures that were complete are kept",
            path=out,
            remedy="run the same command with --resume to go on",
        ) from stop
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"captures: {len(rows)} done", markup=False)
    console.print(f"summary: {out / 'batch.html'}", markup=False)
