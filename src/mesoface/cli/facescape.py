"""``mesoface facescape``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mesoface.cli.options import Workers, command_group, resumable, takes
from mesoface.lab.facescape.settings import GeneratorSettings, PrepareSettings

app = command_group(
    "facescape",
    help="FaceScape as a data set: `prepare` it, train and reconstruct from that, `evaluate` a split.\n\n"
    "docs/facescape.md describes the steps. Without the data, `synth` writes captures in the same layout.\n\n"
    "Example: `mesoface facescape prepare FaceScape --out prepared --workers 4`",
)


def _metadata(help: str) -> Any:
    return typer.Option(metavar="FILE", help=help, show_default=False, rich_help_panel="Metadata")


@app.command(name="prepare")
@takes(settings=PrepareSettings)
def prepare_command(
    settings: PrepareSettings,
    root: Annotated[
        Path,
        typer.Argument(
            help="Where FaceScape was unpacked: the folder of people's folders 1, 2, …, or of imgs and mesh "
            "that contain them, or a folder that was prepared before.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The prepared folder; captures that exist in it are kept.")
    ],
    workers: Workers = 1,
    scales: Annotated[
        Path | None,
        _metadata(
            "Rt_scale_dict.json of FaceScape's toolkit: millimetres per unit of each capture. Left out: the "
            "one in ROOT."
        ),
    ] = None,
    select: Annotated[
        Path | None,
        _metadata(
            "select_dict.json: which photos of each capture. Left out: the one in ROOT, else photos are "
            "chosen: sharp, with the whole face, spread around it."
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        _metadata(
            "id.json: the split of each capture; captures that it does not name are skipped. Left out: the "
            "one in ROOT, else people are drawn at random."
        ),
    ] = None,
) -> None:
    """Undistort, choose views, fit base meshes, make maps: FaceScape as training and evaluation take it.

    Writes the layout of Xiao et al. (images/001/01, fit_mesh, maps, id.json, select_dict.json,
    Rt_scale_dict.json, facial_mask.png), lists of captures for each split (train.txt, …), and captures.csv
    and report.html with a row for each capture. Run the command again to go on, or after adding captures.

    Exit code 3 when some captures failed: captures.csv has the reasons, and the others are prepared.

    Example: `mesoface facescape prepare FaceScape --out prepared --workers 4`
    """
    from mesoface.lab.facescape.prepare import prepare

    with resumable(out) as progress:
        records = prepare(
            root,
            out,
            settings,
            scales=scales,
            selection=select,
            splits=splits,
            workers=workers,
            progress=progress,
        )
    typer.echo(f"prepared: {len(records)} captures in {out}, report: {out / 'report.html'}")


@app.command(name="evaluate")
def evaluate_command(
    runs: Annotated[
        Path,
        typer.Argument(
            help="Output of `mesoface batch` for the split's list, or a folder of results.",
            show_default=False,
        ),
    ],
    prepared: Annotated[Path, typer.Argument(help="The prepared folder.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the tables; figures that exist in it are kept.")
    ],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Which captures: a key of the prepared folder's id.json.")
    ] = "eval",
    samples: Annotated[
        int, typer.Option(metavar="N", help="Points drawn on each surface.", min=1000, max=2_000_000)
    ] = 100_000,
    workers: Workers = 1,
) -> None:
    """Measure the results of a split against the scans: by expression, overall, and the ten worst.

    Chamfer distance, mean normal error, completeness, and the distances of `mesoface evaluate`, as table.md,
    table.csv, table.json and report.html. Results that were measured before are not measured again.

    Exit code 3 when captures of the split have no result or could not be measured; the tables name them.

    Example: `mesoface facescape evaluate runs prepared --split eval --out evaluation`
    """
    from mesoface.lab.facescape.evaluate import evaluate_split

    with resumable(out) as progress:
        table = evaluate_split(
            prepared, runs, out, split=split, samples=samples, workers=workers, progress=progress
        )
    if (overall := table.overall()) is not None:
        typer.echo(
            f"captures measured: {len(table.figures)}; chamfer {overall.chamfer:.3f} mm, "
            f"normals {overall.normals:.2f}°, {100 * overall.complete:.1f} % complete"
        )
    typer.echo(f"tables: {out / 'report.html'}")


@app.command(name="synth")
@takes(settings=GeneratorSettings)
def synth_command(
    settings: GeneratorSettings,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to fill; captures that exist in it are kept.")
    ],
    workers: Workers = 1,
) -> None:
    """Write synthetic captures as FaceScape publishes its own, to try every step without the data.

    1/1_neutral/0.jpg …, params.json, 1/1_neutral.ply, Rt_scale_dict.json: lenses, cameras in portrait and on
    their side, arbitrary units, a view without a valid calibration in each capture, some captures without a
    scan.

    Example: `mesoface facescape synth --out FaceScape --people 3 --expressions 2`
    """
    from mesoface.lab.facescape.generate import generate

    with resumable(out) as progress:
        generate(out, settings, workers=workers, progress=progress)
    typer.echo(f"captures: {out}")
