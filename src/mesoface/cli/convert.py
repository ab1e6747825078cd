"""``mesoface convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[Path, typer.Argument(help="The capture's folder.", show_default=False)],
    target: Annotated[
        Path, typer.Argument(help="The new capture's folder; made at the very end.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="plain (capture.json), colmap, nerfstudio, facescape, metashape, realitycapture, openmvg, "
            "meshroom, opencv_rig or opencv.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Format of SOURCE. Left out: recognised from its files."),
    ] = None,
    undistort: Annotated[
        bool,
        typer.Option(
            "--undistort",
            help="Write undistorted photos, as PNG, and pinhole cameras: for formats that cannot represent "
            "the lens, and for photos with an EXIF orientation.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older capture that is in TARGET.")
    ] = False,
) -> None:
    """Write a capture in another program's format, with its photos and masks.

    Photos are copied byte by byte, so that the new folder is complete. A lens that the format cannot
    represent is refused, never approximated: pass --undistort. Losses of scale and masks are printed.
    docs/formats.md has the conventions of every format.

    Example: `mesoface convert shoot/ shoot-colmap/ --to colmap`

    From Metashape to capture.json: `mesoface convert shoot/ plain/ --to plain`
    """
    from mesoface.captures.convert import convert
    from mesoface.running.progress import progress_bars

    with progress_bars() as progress:
        done = convert(
            source, target, to, format=format, undistort=undistort, overwrite=overwrite, progress=progress
        )
    typer.echo(f"{done.path}: {done.views} views as {done.format}")
    for note in done.notes:
        typer.echo(f"  {note}")
