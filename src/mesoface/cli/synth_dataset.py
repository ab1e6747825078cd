"""``mesoface synth-dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.cli.options import Workers, resumable


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the set; captures that exist in it are kept.")
    ],
    count: Annotated[int, typer.Option(metavar="N", help="Number of captures in the whole set.", min=1)],
    workers: Workers = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Each seed gives another set.", min=0)] = 0,
    face_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="generic|ict|PATH",
            help="Face model that heads are drawn from; repeat the option for several. Default: generic.",
            show_default=False,
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON with the ranges that differ from the defaults: `{"views": [4, 8]}`. The README.md of '
            "a set lists all ranges. configs/lifelike/ranges.json has those of photos from life.",
        ),
    ] = None,
) -> None:
    """Make a training set: many captures whose true surface is known.

    Faces, expressions, skins, lights, rigs, photo sizes, blur, noise, exposure, JPEG and calibration errors
    are drawn at random. Capture k does not depend on the count, the workers or interruptions: run the command
    again to go on, or with a larger count to add captures. A capture takes about 30 seconds and 15 MB.

    Exit code 3 when some captures failed; the others are written.

    Example: `mesoface synth-dataset --out captures --count 100 --workers 4`
    """
    from mesoface.lab.synthesis.dataset import DatasetRanges, make_dataset, read_ranges

    chosen = read_ranges(ranges) if ranges is not None else DatasetRanges()
    with resumable(out) as progress:
        make_dataset(
            out,
            count=count,
            workers=workers,
            seed=seed,
            models=face_model or ["generic"],
            ranges=chosen,
            progress=progress,
        )
    typer.echo(f"captures: {out}")
