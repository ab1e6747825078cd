"""``mesoface reconstruct``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

_INPUT, _METHOD, _RESULT = "Input", "Method", "Result"


def command(
    capture: Annotated[Path, typer.Argument(help="Folder with photos and calibration.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the result; made at the very end.", rich_help_panel=_RESULT
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="facescape|colmap|nerfstudio",
            help="Format of the calibration. Left out: found by looking at the folder.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=2,
            max=120,
            help="Use this many views: spread around the face, sharp, with the whole face in them.",
            rich_help_panel=_INPUT,
        ),
    ] = 10,
    view_ids: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Use exactly these views instead, separated by commas, e.g. 0,3,4,7. "
            "`mesoface inspect` lists the names.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Landmarks from a .json or .npz file instead of the detector; docs/formats.md shows them.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="MM_PER_UNIT",
            help="Millimetres per unit of the calibration's world: 1 where that is in mm, 1000 where it is "
            "in metres. Left out: from the format where it says so, else from the size of the eyes (± 5 %).",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH",
            help="The true surface, where it is known, in millimetres in the same frame: run.json and report "
            "then say the error.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="fast|default|best|paper",
            help="How fine, and how long: measured on a grid of up to 512², 768² or 1024² points. paper: the "
            "published networks and their volume, minutes; needs --weights.",
            rich_help_panel=_METHOD,
        ),
    ] = "default",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Weights of the learned matcher, a .safetensors file, instead of those that come with "
            "mesoface. For --preset paper: the folder that `mesoface weights import` made.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    memory: Annotated[
        int,
        typer.Option(
            metavar="MB",
            min=16,
            help="Memory for what a learned matcher computes at a time; the photos' features come on top.",
            rich_help_panel=_METHOD,
        ),
    ] = 1024,
    face_model: Annotated[
        str,
        typer.Option(
            metavar="generic|ict|PATH",
            help="Face model that the base mesh comes from: generic is built in; ict, or the path of an ICT, "
            "FaceScape or FLAME model, is a file of yours.",
            rich_help_panel=_METHOD,
        ),
    ] = "generic",
    matcher: Annotated[
        str,
        typer.Option(
            metavar="learned|ncc",
            help="How photos are compared. learned: by correlation, and by a network that goes on from it. "
            "ncc: by correlation alone; two thirds of the time, half the memory. --preset paper has its own.",
            rich_help_panel=_METHOD,
        ),
    ] = "learned",
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda",
            help="Where matching runs; auto takes a GPU where there is one.",
            rich_help_panel=_METHOD,
        ),
    ] = "auto",
    threads: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=64,
            help="Threads for matching and texture on the CPU.",
            rich_help_panel=_METHOD,
        ),
    ] = min(8, os.cpu_count() or 2),
    until: Annotated[
        str,
        typer.Option(
            metavar="base|fine",
            help="base: stop at the face model fitted to the landmarks. fine: measure the surface.",
            rich_help_panel=_RESULT,
        ),
    ] = "fine",
    texture_size: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Side of the texture in texels, 64 to 8192; 0 for none. At 2048 a texel is some 0.1 mm.",
            rich_help_panel=_RESULT,
        ),
    ] = 2048,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the older result that is in --out.", rich_help_panel=_RESULT
        ),
    ] = False,
) -> None:
    """Photos in, measured face out.

    Writes base.obj, fine.ply, texture.png with texture_seen.png, displacement.exr (mm), confidence.png,
    region.ply, run.json and report.html.
    Everything is in millimetres, in the capture's own world frame times the scale that run.json states. Until
    all of it is written, --out is not touched.

    Example: `mesoface reconstruct shoot/ --out face/`

    Calibrated in mm, finest, only these photos:
    `mesoface reconstruct shoot/ --out face/ --scale 1 --preset best --view-ids 0,2,4,5,7`
    """
    from mesoface.cli.naming import naming
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
        weights=weights,
        memory_mb=memory,
        views=views,
        view_ids=names,
        until=until,
        texture_size=texture_size,
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
        with naming(capture):
            face = reconstruct(loaded, settings, landmarks=given, progress=progress, clock=clock)
        summary = save_face(face, out, truth=truth_mesh, overwrite=overwrite, progress=progress)
    for warning in face.warnings:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[yellow]warning:[/] {escape(warning)}")
    console = Console(highlight=False, soft_wrap=True)
    for line in summary:
        console.print(line, markup=False)
