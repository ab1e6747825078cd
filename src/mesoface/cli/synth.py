"""``mesoface synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import MesofaceError


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the capture; made at the very end.")],
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Another seed, another face; the same one, the same bytes.", min=0),
    ] = 0,
    face_model: Annotated[
        str, typer.Option(metavar="generic|ict|PATH", help="Face model that heads are drawn from.")
    ] = "generic",
    views: Annotated[int, typer.Option(metavar="N", help="Number of cameras.", min=2, max=60)] = 10,
    width: Annotated[
        int, typer.Option(metavar="PIXELS", help="Width of the photos.", min=64, max=8192)
    ] = 864,
    height: Annotated[
        int, typer.Option(metavar="PIXELS", help="Height of the photos.", min=64, max=8192)
    ] = 1296,
    spread: Annotated[
        float,
        typer.Option(metavar="DEGREES", help="Between the outermost cameras.", min=5, max=180),
    ] = 120.0,
    detail: Annotated[
        float,
        typer.Option(
            metavar="MM",
            help="Longest triangle edge of the photographed skin; its finest relief is about twice that.",
            min=0.2,
            max=5,
        ),
    ] = 0.6,
    truth_detail: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Longest triangle edge of gt.ply, for a smaller file; truth.json says how far it is off. "
            "Left out: the photographed triangles themselves.",
            min=0.2,
            max=20,
        ),
    ] = None,
    jpeg_quality: Annotated[int, typer.Option(metavar="N", help="Of the photos.", min=30, max=100)] = 93,
    frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="More than 1: a video. The head turns and changes its expression before cameras that stay; "
            "a capture's folder for each frame, and frames.txt, their list.",
            min=1,
            max=100_000,
        ),
    ] = 1,
    fps: Annotated[
        float, typer.Option(metavar="N", help="Frames per second of the video.", min=1, max=1000)
    ] = 30.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older synthetic capture that is in --out.")
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
    from mesoface.files.targets import check_output_folder
    from mesoface.lab.synthesis import SynthesisSettings, synthesize, synthesize_sequence
    from mesoface.running.progress import progress_bars

    if truth_detail is not None and truth_detail < detail:
        raise MesofaceError(
            f"--truth-detail {truth_detail} is finer than what is photographed (--detail {detail})",
            remedy="make it larger, or leave it out",
        )
    check_output_folder(
        out,
        record="truth.json",
        overwrite=overwrite,
        other="--overwrite replaces synthetic captures only, and this folder has no truth.json",
    )
    with progress_bars(remaining=frames > 1) as progress:
        if frames > 1:
            settings = SynthesisSettings(
                views=views,
                width=width,
                height=height,
                spread_deg=spread,
                detail_mm=detail,
                truth_mm=truth_detail,
                jpeg_quality=jpeg_quality,
            )
            listed = synthesize_sequence(
                out,
                frames,
                seed=seed,
                model=face_model,
                settings=settings,
                fps=fps,
                overwrite=overwrite,
                progress=progress,
            )
            typer.echo(f"sequence: {listed}")
            return
        folder = synthesize(
            out,
            seed=seed,
            model=face_model,
            views=views,
            width=width,
            height=height,
            spread_deg=spread,
            detail_mm=detail,
            truth_mm=truth_detail,
            jpeg_quality=jpeg_quality,
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(f"capture: {folder}")
