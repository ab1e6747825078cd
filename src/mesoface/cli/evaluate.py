"""``mesoface evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mesoface.errors import MesofaceError, naming


def command(
    prediction: Annotated[
        Path, typer.Argument(help="A mesh file, or the folder of a reconstruction.", show_default=False)
    ],
    truth: Annotated[
        Path, typer.Argument(help="The true surface: .ply, .obj or .stl, millimetres.", show_default=False)
    ],
    align: Annotated[
        Literal["none", "rigid", "similarity"],
        typer.Option(
            metavar="none|rigid|similarity",
            help="none: both are in the same world frame, in mm. rigid: rotate and translate the prediction "
            "onto the truth first. similarity: scale it too.",
        ),
    ] = "none",
    region: Annotated[
        Path | None,
        typer.Option(
            metavar="MESH",
            help="Measure only along this mesh, in the prediction's frame. Left out: region.ply of a "
            "reconstruction's folder, or everywhere.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Points drawn on each surface.", min=1000, max=2_000_000)
    ] = 100_000,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the error on the surface: .ply with colours, or .png.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the distance between a reconstruction and the true surface, both ways, in millimetres.

    Point to surface, area-uniform samples, inside the facial region; docs/evaluation.md has the protocol.
    In a reconstruction's folder, fine.ply is measured, or base.obj if the run stopped there. What mesoface
    filled in does not count; its error is printed apart.

    Example: `mesoface evaluate face/ truth.ply --heatmap error.png`
    """
    from mesoface.evaluation import evaluate, evaluate_filled, filled_line, print_evaluation, write_heatmap
    from mesoface.files.meshes import read_mesh
    from mesoface.results.face import load_face

    if heatmap is not None and heatmap.suffix.lower() not in (".ply", ".png"):
        raise MesofaceError("a heat map is a .ply or a .png", path=heatmap, remedy="change the name")
    inside = read_mesh(region) if region is not None else None
    if prediction.is_dir():
        face = load_face(prediction)
        predicted, inside = face.surface, inside or face.region
    else:
        predicted = read_mesh(prediction)
    true = read_mesh(truth)
    with naming(f"{prediction} against {truth}"):
        result = evaluate(predicted, true, align=align, region=inside, samples=samples)
    filled = evaluate_filled(predicted, result, samples=max(1000, samples // 5))
    if heatmap is not None:
        write_heatmap(heatmap, predicted, result)
        typer.echo(f"heat map: {heatmap}", err=True)
    if as_json:
        typer.echo(
            json.dumps(result.to_dict() | ({} if filled is None else {"filled": filled.to_dict()}), indent=2)
        )
    else:
        print_evaluation(result, Console())
        if filled is not None:
            typer.echo(filled_line(filled))
