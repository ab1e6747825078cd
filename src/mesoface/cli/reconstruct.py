"""``mesoface reconstruct``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def command(
    capture: Annotated[Path, typer.Argument(help="Folder with photos and calibration.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the result; made at the very end.")],
    format: Annotated[
        str | None, typer.Option(help="facescape, colmap or nerfstudio; found by looking when left out.")
    ] = None,
    face_model: Annotated[
        str,
        typer.Option(
            help="generic (comes with mesoface), ict, or the path of an ICT, FaceScape or FLAME model."
        ),
    ] = "generic",
    matcher: Annotated[str, typer.Option(help="ncc: classical photo-consistency, nothing learned.")] = "ncc",
    preset: Annotated[
        str, typer.Option(help="fast, default or best: how fine, and how long it takes.")
    ] = "default",
    views: Annotated[int, typer.Option(help="Use the best so many views.", min=2, max=120)] = 10,
    view_ids: Annotated[
        str | None, typer.Option(help="Use exactly these views, separated by commas, e.g. 0,3,4,7.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="Landmarks from a .json or .npz file instead of the detector.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Millimetres per world unit (1 = calibrated in mm). Left out: from the file or the eyes."
        ),
    ] = None,
    until: Annotated[
        str, typer.Option(help="base: stop at the fitted face model; fine: measure the surface.")
    ] = "fine",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads for matching.", min=1, max=64)] = min(
        8, os.cpu_count() or 2
    ),
    truth: Annotated[
        Path | None,
        typer.Option(help="The true surface, where it is known: the report then shows the error."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the result that is in --out.")
    ] = False,
) -> None:
    """Photos in, measured face out.

    Writes base.obj, fine.ply, displacement.exr (mm), confidence.png, run.json and report.html. Coordinates are
    the capture's own world times the scale, which run.json states: millimetres.

    Examples:
    mesoface reconstruct shoot/ --out face/

    mesoface reconstruct shoot/ --out face/ --scale 1 --preset best --view-ids 0,2,4,5,7
    """
    from mesoface.config import make_settings
    from mesoface.landmarks import read_landmarks
    from mesoface.load import load_capture
    from mesoface.mesh_io import read_mesh
    from mesoface.output import check_target, save_face
    from mesoface.pipeline import reconstruct
    from mesoface.progress import progress_bars
    from mesoface.stages import StageClock

    names = (
        tuple(name.strip() for name in view_ids.split(",") if name.strip()) if view_ids is not None else None
    )
    settings = make_settings(
        face_model=face_model,
        matcher=matcher,
        preset=preset,
        views=views,
        view_ids=names,
        until=until,
        scale=scale,
        device=device,
        threads=threads,
    )
    settings.torch_device()
    check_target(out, capture, overwrite)
    clock = StageClock()
    with progress_bars() as progress:
        truth_mesh = read_mesh(truth) if truth is not None else None
        with clock.stage("loading"):
            loaded = load_capture(capture, format=format, names=names, progress=progress)
        given = read_landmarks(landmarks, loaded) if landmarks is not None else None
        face = reconstruct(loaded, settings, landmarks=given, progress=progress, clock=clock)
        summary = save_face(face, out, truth=truth_mesh, overwrite=overwrite, progress=progress)
    console = Console(highlight=False, soft_wrap=True)
    for line in summary:
        console.print(line, markup=False)
    for warning in face.warnings:
        Console(stderr=True, soft_wrap=True).print(f"[yellow]warning:[/] {warning}", highlight=False)
