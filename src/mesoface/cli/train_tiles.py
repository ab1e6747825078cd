"""``mesoface train tiles``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import InterruptedJobsError


def command(
    captures: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR|LIST",
            help="A capture in FaceScape's layout, a folder that holds such, or a text file that names one a "
            "line; may be given several times.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the shards; those that are in it are kept.")
    ],
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
    ] = 1,
    truth_name: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File in each capture's folder with its true surface. Left out: gt.ply, else NAME.ply "
            "beside the capture's folder NAME.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Millimetres per unit of the captures' worlds. Left out: what each capture says.",
            min=1e-6,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other tiles.", min=0)] = 0,
    size: Annotated[int, typer.Option(metavar="TEXELS", help="Side of a tile.", min=16, max=256)] = 64,
) -> None:
    """Cut training tiles from captures whose true surface is known.

    Each capture is matched classically, coarse to fine; tiles are cut from what every level starts from, with
    the true displacement along its normals. A truth that the photos do not show is refused, with the reason,
    and its capture skipped (exit code 3). Run the command again to go on, or to add captures.

    Example: `mesoface train tiles --captures captures --out tiles --workers 4`
    """
    from mesoface.lab.training.prepare import prepare_tiles
    from mesoface.running.progress import progress_bars

    try:
        with progress_bars(remaining=True) as progress:
            prepare_tiles(
                captures,
                out,
                workers=workers,
                truth_name=truth_name,
                scale=scale,
                seed=seed,
                size=size,
                progress=progress,
            )
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the shards that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop
    typer.echo(f"tiles: {out}")
