"""``mesoface train pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import InterruptedJobsError


def command(
    tiles: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR", help="A folder that `mesoface train tiles` wrote; may be given several times."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the shards; those that are in it are kept.")
    ],
    per_shard: Annotated[
        int,
        typer.Option(metavar="N", help="Tiles in a shard; one has about 0.7 MB.", min=1, max=10_000),
    ] = 200,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another order.", min=0)] = 0,
) -> None:
    """Pack tiles for training sets that do not fit in memory.

    All tiles are shuffled once and written, unpacked, into safetensors files of some hundred megabytes, which
    training then reads from front to back: a source of kind "stream" in its configuration. Run the command
    again to go on.

    Example: `mesoface train pack --tiles tiles --out packed --workers 4`
    """
    from mesoface.lab.training.pack import pack_tiles
    from mesoface.running.progress import progress_bars

    try:
        with progress_bars(remaining=True) as progress:
            count = pack_tiles(tiles, out, per_shard=per_shard, seed=seed, workers=workers, progress=progress)
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the shards that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop
    typer.echo(f"{count} tiles: {out}")
