"""``mesoface evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mesoface.cli.options import takes
from mesoface.config import Settings
from mesoface.errors import MesofaceError, naming

_HALVES = "With --halves"
Align = Literal["none", "rigid", "similarity"]
Split = Literal["interleaved", "consecutive"]


@takes(settings=Settings, without=("until", "texture_size", "meso", "meso_weights"), panel=_HALVES)
def command(
    settings: Settings,
    prediction: Annotated[
        Path | None,
        typer.Argument(help="A mesh file, or the folder of a reconstruction.", show_default=False),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Argument(help="The true surface: .ply, .obj or .stl, millimetres.", show_default=False),
    ] = None,
    align: Annotated[
        Align | None,
        typer.Option(
            metavar="none|rigid|similarity",
            help="none: both are in the same world frame, in mm. rigid: rotate and translate the prediction "
            "onto the truth first. similarity: scale it too. Left out: none; of halves whose unit is not "
            "known, similarity.",
        ),
    ] = None,
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
    halves: Annotated[
        Path | None,
        typer.Option(
            metavar="CAPTURE",
            help="No true surface: reconstruct this capture twice, from disjoint halves of its photos, and "
            "compare the two.",
        ),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            metavar="interleaved|consecutive",
            help="interleaved: every other view. consecutive: the first half of the views and the second.",
            rich_help_panel=_HALVES,
        ),
    ] = "interleaved",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for both results (first, second), halves.json and halves.png.",
            rich_help_panel=_HALVES,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of CAPTURE. Left out: recognised from its files.",
            rich_help_panel=_HALVES,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace an older comparison that is in --out.", rich_help_panel=_HALVES
        ),
    ] = False,
) -> None:
    """Measure the distance between a reconstruction and the true surface, both ways, in millimetres.

    Point to surface, area-uniform samples, inside the facial region; docs/evaluation.md has the protocol.
    In a reconstruction's folder, fine.ply is measured, or base.obj if the run stopped there. What mesoface
    filled in does not count; its error is printed apart.

    Example: `mesoface evaluate face/ truth.ply --heatmap error.png`

    The precision of a rig, without a true surface: two results from disjoint halves of the photos
    (docs/trust.md): `mesoface evaluate --halves shoot/ --out halves/`
    """
    if heatmap is not None and heatmap.suffix.lower() not in (".ply", ".png"):
        raise MesofaceError("a heat map is a .ply or a .png", path=heatmap, remedy="change the name")
    if halves is not None:
        if prediction is not None or region is not None:
            extra = "--region" if prediction is None else f"PREDICTION ({prediction})"
            raise MesofaceError(
                f"--halves CAPTURE and {extra} exclude each other", remedy="leave one of them out"
            )
        _halves(halves, settings, split, align, samples, heatmap, as_json, out, format, overwrite)
        return
    if prediction is None or truth is None:
        lacking = "PREDICTION and TRUTH" if prediction is None else "TRUTH"
        raise MesofaceError(f"{lacking} missing", remedy="name them, or pass --halves CAPTURE")
    unused = [name for name, given in (("out", out), ("format", format)) if given is not None]
    unused += [name for name, value in Settings() if getattr(settings, name) != value]
    if unused:
        raise MesofaceError(
            f"--{unused[0].replace('_', '-').removesuffix('-mb')} is for --halves CAPTURE",
            path=prediction,
            remedy="leave it out",
        )
    _against_truth(prediction, truth, align or "none", region, samples, heatmap, as_json)


def _against_truth(
    prediction: Path,
    truth: Path,
    align: Align,
    region: Path | None,
    samples: int,
    heatmap: Path | None,
    as_json: bool,
) -> None:
    from mesoface.evaluation import (
        evaluate,
        evaluate_filled,
        filled_line,
        print_bands,
        print_evaluation,
        write_heatmap,
    )
    from mesoface.files.meshes import read_mesh
    from mesoface.results.comparison import cheek_bands, face_uncertainty
    from mesoface.results.face import load_face

    inside = read_mesh(region) if region is not None else None
    face = load_face(prediction) if prediction.is_dir() else None
    if face is not None:
        predicted, inside = face.surface, inside or face.region
    else:
        predicted = read_mesh(prediction)
    true = read_mesh(truth)
    with naming(f"{prediction} against {truth}"):
        result = evaluate(predicted, true, align=align, region=inside, samples=samples)
    figures = result.to_dict()
    bands = () if face is None else cheek_bands(face, result)
    with naming(prediction):
        uncertainty = None if face is None else face_uncertainty(face, result)
    filled = evaluate_filled(predicted, result, samples=max(1000, samples // 5))
    if filled is not None:
        figures["filled"] = filled.to_dict()
    if face is not None:
        figures["cheeks"] = [band.to_dict() for band in bands]
        figures["uncertainty"] = None if uncertainty is None else uncertainty.to_dict()
    if heatmap is not None:
        write_heatmap(heatmap, predicted, result)
        typer.echo(f"heat map: {heatmap}", err=True)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    console = Console()
    print_evaluation(result, console)
    if filled is not None:
        typer.echo(filled_line(filled))
    if bands:
        console.print()
        print_bands(bands, console)
    if uncertainty is not None:
        console.print(f"\nstated uncertainty: {uncertainty}", highlight=False)


def _halves(
    capture: Path,
    settings: Settings,
    split: Split,
    align: Align | None,
    samples: int,
    heatmap: Path | None,
    as_json: bool,
    out: Path | None,
    format: str | None,
    overwrite: bool,
) -> None:
    from mesoface.captures.load import load_capture
    from mesoface.evaluation import write_heatmap
    from mesoface.precision.display import print_halves
    from mesoface.precision.halves import measure_halves
    from mesoface.precision.write import check_halves_folder, write_halves
    from mesoface.results.comparison import measured_mesh
    from mesoface.running.progress import progress_bars

    settings.torch_device()
    if out is not None:
        check_halves_folder(out, capture, overwrite)
    with progress_bars() as progress:
        loaded = load_capture(capture, format=format, names=settings.view_ids, progress=progress)
        with naming(capture):
            halves = measure_halves(
                loaded, settings, split=split, align=align, samples=samples, progress=progress
            )
        if out is not None:
            write_halves(out, halves, overwrite=overwrite, progress=progress)
    if heatmap is not None:
        write_heatmap(heatmap, measured_mesh(halves.first), halves.evaluation)
        typer.echo(f"heat map: {heatmap}", err=True)
    if as_json:
        typer.echo(json.dumps(halves.to_dict(), indent=2))
    else:
        print_halves(halves, Console())
    if out is not None:
        typer.echo(f"both results, figures and picture: {out}", err=True)
