"""``mesoface synth``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mesoface.cli.options import takes
from mesoface.lab.synthesis.settings import SynthesisSettings


@takes(settings=SynthesisSettings)
def command(
    settings: SynthesisSettings,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the capture; made at the very end.")],
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Each seed gives another face; the same seed, the same bytes.", min=0),
    ] = 0,
    face_model: Annotated[
        str, typer.Option(metavar="generic|ict|PATH", help="Face model that heads are drawn from.")
    ] = "generic",
    frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="More than 1: a video. The head turns and changes its expression in front of fixed cameras; "
            "writes a capture's folder for each frame, and frames.txt, their list.",
            min=1,
            max=100_000,
        ),
    ] = 1,
    fps: Annotated[
        float, typer.Option(metavar="N", help="Frames per second of the video.", min=1, max=1000)
    ] = 30.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the earlier synthetic capture in --out.")
    ] = False,
) -> None:
    """Make a capture whose true surface is known.

    A head with wrinkles, pores, freckles, brows, lips and eyes is photographed under soft lights by cameras
    with lens distortion, exposure differences and noise. Writes params.json and photos (FaceScape layout),
    gt.ply (the true face, in the cameras' world, mm) and truth.json.

    Example: `mesoface synth --out sample --seed 7`

    Then measure on it:
    `mesoface reconstruct sample --out face --scale 1 --truth sample/gt.ply`

    A video of 50 frames: `mesoface synth --out video --seed 7 --frames 50`, then
    `mesoface batch video/frames.txt --out faces --sequence --scale 1 --truth-name gt.ply`
    """
    from mesoface.files.atomic import check_output_folder
    from mesoface.lab.synthesis.capture import synthesize, synthesize_sequence
    from mesoface.running.progress import progress_bars

    check_output_folder(
        out,
        record="truth.json",
        overwrite=overwrite,
        other="--overwrite replaces synthetic captures only, and this folder has no truth.json",
    )
    make: Callable[..., Path] = synthesize
    if frames > 1:
        make = partial(synthesize_sequence, frames=frames, fps=fps)
    with progress_bars(remaining=frames > 1) as progress:
        made = make(
            out, seed=seed, model=face_model, settings=settings, overwrite=overwrite, progress=progress
        )
    typer.echo(f"{'sequence' if frames > 1 else 'capture'}: {made}")
