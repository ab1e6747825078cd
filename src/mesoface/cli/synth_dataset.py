"""``mesoface synth-dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import InterruptedJobsError


def command(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the set; captures that are in it are kept."),
    ],
    count: Annotated[int, typer.Option(metavar="N", help="Captures the set shall have.", min=1)],
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another set.", min=0)] = 0,
    face_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="generic|ict|PATH",
            help="Face model that heads are drawn from; several when given several times. Default: generic.",
            show_default=False,
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON with the ranges to draw from that shall not be the defaults: `{"views": [4, 8]}`. The '
            "set's README.md lists all.",
        ),
    ] = None,
) -> None:
    """Make a training set: many captures whose true surface is known.

    Faces, expressions, skins, lights, rigs, photo sizes, blur, noise, exposure, JPEG and calibration errors
    are drawn at random. Capture k is the same whatever the count, the workers and the interruptions: run
    the command again to go on, or with a larger count to add captures. Some 30 seconds and 15 MB each.

    Exit code 3 when some captures failed; the others are there.

    Example: `mesoface synth-dataset --out captures --count 100 --workers 4`
    """
    from mesoface.lab.synthesis.dataset import make_dataset
    from mesoface.lab.synthesis.ranges import DatasetRanges, read_ranges
    from mesoface.running.progress import progress_bars

    chosen = read_ranges(ranges) if ranges is not None else DatasetRanges()
    try:
        with progress_bars(remaining=True) as progress:
            make_dataset(
                out,
                count=count,
                workers=workers,
                seed=seed,
                models=face_model or ["generic"],
                ranges=chosen,
                progress=progress,
            )
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the captures that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop
    typer.echo(f"captures: {out}")
