"""``mesoface synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the capture; made at the very end.")],
    seed: Annotated[int, typer.Option(help="The same seed makes the same capture.", min=0)] = 0,
    face_model: Annotated[str, typer.Option(help="generic, ict, or the path of a face model.")] = "generic",
    views: Annotated[int, typer.Option(help="Number of cameras.", min=2, max=60)] = 10,
    width: Annotated[int, typer.Option(help="Photo width, pixels.", min=64, max=8192)] = 864,
    height: Annotated[int, typer.Option(help="Photo height, pixels.", min=64, max=8192)] = 1296,
    spread: Annotated[
        float, typer.Option(help="Degrees from the first camera to the last.", min=5, max=180)
    ] = 120.0,
) -> None:
    """Make a capture whose true surface is known.

    A head with wrinkles, pores, freckles, brows, lips and eyes is photographed under soft lights by cameras with
    lens distortion, exposure differences and noise. Writes params.json and photos (FaceScape layout), gt.ply (the
    true face, in the cameras' world, mm) and truth.json.

    Example: mesoface synth --out sample --seed 7, then: mesoface reconstruct sample --out face --scale 1 --truth
    sample/gt.ply
    """
    from mesoface.progress import progress_bars
    from mesoface.synthesis import synthesize

    with progress_bars() as progress:
        folder = synthesize(
            out,
            seed=seed,
            model=face_model,
            views=views,
            width=width,
            height=height,
            spread_deg=spread,
            progress=progress,
        )
    typer.echo(f"capture: {folder}")
