"""``mesoface reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mesoface.cli.options import CaptureArgument, FormatOption, takes
from mesoface.config import INPUT, RESULT, Settings
from mesoface.errors import naming


@takes(settings=Settings)
def command(
    settings: Settings,
    capture: CaptureArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the result; made at the very end.", rich_help_panel=RESULT
        ),
    ],
    format: FormatOption = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Landmarks from a .json or .npz file instead of the detector; docs/formats.md shows them.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH",
            help="The true surface, where it is known, in millimetres in the same frame: run.json and the "
            "report then have the error.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    find_cameras: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="The photos have no cameras: find them first, as `mesoface calibrate` does, and write the "
            "capture beside the result, to OUT-capture. CAPTURE may also be a video.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the older result that is in --out.", rich_help_panel=RESULT
        ),
    ] = False,
) -> None:
    """Reconstruct a face from calibrated photos.

    Writes base.obj, fine.ply, texture.png with texture_seen.png, displacement.exr and uncertainty.exr (mm),
    confidence.png with measured.png, detailed.ply with meso.exr (predicted relief, mm), face.glb, region.ply,
    run.json and report.html. Everything is in millimetres, in the capture's own world frame times the scale
    in run.json. --out appears when all files are written, and not before.

    Example: `mesoface reconstruct shoot/ --out face/`

    A calibration in mm, the finest preset, only these photos:
    `mesoface reconstruct shoot/ --out face/ --scale 1 --preset best --view-ids 0,2,4,5,7`

    Photos without a calibration: `mesoface reconstruct photos/ --out face/ --calibrate`
    """
    from mesoface.captures.load import load_capture
    from mesoface.cli.calibrate import calibrated
    from mesoface.files.meshes import read_mesh
    from mesoface.landmarks import read_landmarks
    from mesoface.pipeline import reconstruct
    from mesoface.running.process import StageClock
    from mesoface.running.progress import progress_bars
    from mesoface.save import check_target, save_face

    settings.torch_device()
    check_target(out, capture, overwrite)
    clock = StageClock()
    with progress_bars() as progress:
        if find_cameras:
            with clock.stage("calibration"):
                capture = calibrated(capture, out, overwrite=overwrite, progress=progress)
        truth_mesh = read_mesh(truth) if truth is not None else None
        with clock.stage("loading"):
            loaded = load_capture(capture, format=format, names=settings.view_ids, progress=progress)
        given = read_landmarks(landmarks, loaded) if landmarks is not None else None
        with naming(capture):
            face = reconstruct(loaded, settings, landmarks=given, progress=progress).after(clock.stages)
        summary = save_face(face, out, truth=truth_mesh, overwrite=overwrite, progress=progress)
    for warning in face.warnings:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[yellow]warning:[/] {escape(warning)}")
    typer.echo("\n".join(summary))
