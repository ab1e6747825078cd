"""``mesoface export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mesoface.errors import naming


def command(
    run: Annotated[
        Path, typer.Argument(help="Folder that `mesoface reconstruct` wrote.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; made at the very end.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,…",
            help="What to write, separated by commas: glb, obj, ply, usd (meshes), exr, png, dpmap "
            "(displacement), normals, base (the face model's mesh and weights); or all.",
        ),
    ] = "glb",
    detail_edge: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            min=0.01,
            help="Longest edge of the meshes on the skin, mm: 0.3 for all that was measured. Left out: 2 in "
            "glb, 1 in obj and usd, as measured in ply.",
        ),
    ] = None,
    topology: Annotated[
        Literal["model", "grid"] | None,
        typer.Option(
            metavar="model|grid",
            help="model: the face model's own mesh, subdivided. grid: the dense UV grid that was measured. "
            "Left out: grid in ply, model elsewhere.",
        ),
    ] = None,
    frame: Annotated[
        Literal["face", "world"],
        typer.Option(
            metavar="face|world",
            help="face: upright, y up, z out of the face. world: the capture's own axes, as in RUN.",
        ),
    ] = "face",
    detail: Annotated[
        Literal["all", "measured"],
        typer.Option(
            metavar="all|measured",
            help="all: measured relief and, on top, what was predicted. measured: without any prediction.",
        ),
    ] = "all",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older export that is in --out.")
    ] = False,
) -> None:
    """Files of a reconstructed face for Blender, Maya, Unreal and others.

    glb: one file with mesh, colour and normal map, metres. obj: mesh, material and images, mm. ply: the dense
    grid with colours, mm. usd: a .usdz package, cm. exr, png: displacement of base.obj, 32-bit mm or 16 bits
    with scale and midlevel beside it. dpmap: FaceScape's layout. normals: tangent and object space. base:
    base.obj and the model's identity and expression weights. docs/exports.md has the import steps.

    Example: `mesoface export face/ --to glb,obj --out face-files/`

    All the detail in the model's topology: `mesoface export face/ --to obj --detail-edge 0.3 --out dense/`
    """
    from mesoface.export import ExportOptions, export_face, read_source
    from mesoface.export.formats import check_target, parse_formats
    from mesoface.running.progress import progress_bars

    formats = parse_formats(to)
    check_target(out, run)
    options = ExportOptions(detail_edge, topology, frame, detail)
    with progress_bars() as progress, naming(run):
        source = read_source(run)
        lines = export_face(source, out, formats, options, overwrite=overwrite, progress=progress)
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)
