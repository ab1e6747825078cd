"""``mesoface evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mesoface.errors import MesofaceError


def command(
    prediction: Annotated[Path, typer.Argument(help="A mesh file, or the folder of a reconstruction.")],
    truth: Annotated[Path, typer.Argument(help="The true surface: .ply, .obj or .stl, millimetres.")],
    align: Annotated[
        str, typer.Option(help="none: same world frame; rigid; similarity: also another scale.")
    ] = "none",
    region: Annotated[
        Path | None,
        typer.Option(
            help="Mesh of the facial region to measure in. A reconstruction's folder brings its own."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Points on each surface.", min=1000, max=2_000_000)] = 100_000,
    heatmap: Annotated[
        Path | None, typer.Option(help="Write the error on the surface: .ply with colours, or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Distance between a reconstruction and the true surface, both ways, in millimetres.

    Point to surface, area-uniform samples, inside the facial region; docs/evaluation.md has the protocol.

    Example: mesoface evaluate face/ truth.ply --heatmap error.png
    """
    from mesoface.evaluation import evaluate, print_evaluation, write_heatmap
    from mesoface.mesh_io import read_mesh
    from mesoface.output import facial_region

    if align not in ("none", "rigid", "similarity"):
        raise MesofaceError(f"--align {align}: not known", remedy="use none, rigid or similarity")
    mesh_path = prediction / "fine.ply" if prediction.is_dir() else prediction
    if prediction.is_dir() and region is None:
        inside = facial_region(prediction)
    else:
        inside = read_mesh(region) if region is not None else None
    predicted, true = read_mesh(mesh_path), read_mesh(truth)
    result = evaluate(predicted, true, align=align, region=inside, samples=samples)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        print_evaluation(result, Console())
    if heatmap is not None:
        write_heatmap(heatmap, predicted, result)
        Console(stderr=True).print(f"heat map: {heatmap}")
