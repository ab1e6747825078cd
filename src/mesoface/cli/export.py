"""``mesoface export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.cli.options import ResultArgument, takes
from mesoface.errors import naming
from mesoface.export.source import ExportOptions


@takes(options=ExportOptions)
def command(
    options: ExportOptions,
    run: ResultArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; made at the very end.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,…",
            help="What to write, separated by commas: glb, obj, ply, usd (meshes), exr, png, dpmap "
            "(displacement), normals, base (the face model's mesh and weights); or all.",
        ),
    ] = "glb",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the older export in --out.")
    ] = False,
) -> None:
    """Write files of a reconstructed face for Blender, Maya, Unreal and others.

    glb: one file with mesh, colour and normal map, metres. obj: mesh, material and images, mm. ply: the dense
    grid with colours, mm. usd: a .usdz package, cm. exr, png: displacement of base.obj, 32-bit mm or 16 bits
    with scale and midlevel beside it. dpmap: FaceScape's layout. normals: tangent and object space. base:
    base.obj and the model's identity and expression weights. docs/exports.md has the import steps.

    Example: `mesoface export face/ --to glb,obj --out face-files/`

    All the detail in the model's topology: `mesoface export face/ --to obj --detail-edge 0.3 --out dense/`
    """
    from mesoface.export import export_face
    from mesoface.export.formats import check_export_folder, parse_formats
    from mesoface.results.face import load_face
    from mesoface.running.progress import progress_bars

    formats = parse_formats(to)
    check_export_folder(out, run)
    with progress_bars() as progress, naming(run):
        lines = export_face(load_face(run), out, formats, options, overwrite=overwrite, progress=progress)
    typer.echo("\n".join(lines))
