"""``mesoface facescape``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesoface.errors import InterruptedJobsError

if TYPE_CHECKING:
    from mesoface.running.progress import ProgressCallback

app = typer.Typer(
    name="facescape",
    help="FaceScape as a data set: `prepare` it, train and reconstruct from that, `evaluate` a split.\n\n"
    "docs/facescape.md has the whole way. Without the data, `synth` writes captures in the same layout.\n\n"
    "Example: `mesoface facescape prepare FaceScape --out prepared --workers 4`",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

Workers = Annotated[
    int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
]
_METADATA = "Metadata"


@app.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@contextmanager
def _resumable(out: Path) -> Iterator[ProgressCallback]:
    """Bars, and what Ctrl-C means for work that can be resumed."""
    from mesoface.running.progress import progress_bars

    try:
        with progress_bars(remaining=True) as progress:
            yield progress
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            "interrupted; the captures that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop


@app.command(name="prepare")
def prepare_command(
    root: Annotated[
        Path,
        typer.Argument(
            help="Where FaceScape was unpacked: folders 1, 2, … of people, or imgs and mesh with such, or a "
            "folder that was prepared before.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The prepared folder; captures that are in it are kept.")
    ],
    workers: Workers = 1,
    views: Annotated[
        int, typer.Option(metavar="N", help="Photos of each capture, at most.", min=2, max=60)
    ] = 10,
    longest_side: Annotated[
        int, typer.Option(metavar="PIXELS", help="What photos are scaled to.", min=64, max=8192)
    ] = 1296,
    face_model: Annotated[
        str,
        typer.Option(
            metavar="generic|ict|PATH", help="Face model of the base meshes and of the maps' layout."
        ),
    ] = "generic",
    validation_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the people, to validate on.", min=0, max=0.5)
    ] = 0.05,
    eval_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the people, never trained on.", min=0, max=0.5)
    ] = 0.1,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other people.", min=0)] = 0,
    scales: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rt_scale_dict.json of FaceScape's toolkit: millimetres per unit of each capture. Left out: "
            "the one in ROOT.",
            show_default=False,
            rich_help_panel=_METADATA,
        ),
    ] = None,
    select: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="select_dict.json: which photos of each capture. Left out: the one in ROOT, else they are "
            "chosen: sharp, with the whole face, spread around it.",
            show_default=False,
            rich_help_panel=_METADATA,
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="id.json: which captures are in which split; others are left alone. Left out: the one in "
            "ROOT, else people are drawn.",
            show_default=False,
            rich_help_panel=_METADATA,
        ),
    ] = None,
) -> None:
    """Undistort, choose views, fit base meshes, make maps: FaceScape as training and evaluation take it.

    Writes the layout of Xiao et al. (images/001/01, fit_mesh, maps, id.json, select_dict.json,
    Rt_scale_dict.json, facial_mask.png), lists of captures for each split (train.txt, …), and captures.csv
    and report.html with a row for each capture. Run the command again to go on, or after adding captures.

    Exit code 3 when some captures failed; captures.csv says why, the others are there.

    Example: `mesoface facescape prepare FaceScape --out prepared --workers 4`
    """
    from mesoface.lab.facescape.prepare import PrepareSettings, prepare

    settings = PrepareSettings(
        views=views,
        longest_side=longest_side,
        face_model=face_model,
        validation_share=validation_share,
        eval_share=eval_share,
        seed=seed,
    )
    with _resumable(out) as progress:
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
            help="What `mesoface batch` wrote for the split's list, or a folder of results.",
            show_default=False,
        ),
    ],
    prepared: Annotated[Path, typer.Argument(help="The prepared folder.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the tables; figures that are in it are kept.")
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

    Chamfer distance, mean normal error, completeness, and the distances as `mesoface evaluate` has them, as
    table.md, table.csv, table.json and report.html. Results that were measured before are not measured again.

    Exit code 3 when captures of the split have no result or could not be measured; the tables name them.

    Example: `mesoface facescape evaluate runs prepared --split eval --out evaluation`
    """
    from mesoface.lab.facescape.evaluate import evaluate_split

    with _resumable(out) as progress:
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
def synth_command(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to fill; captures that are in it are kept.")
    ],
    people: Annotated[int, typer.Option(metavar="N", help="How many.", min=1, max=9999)] = 3,
    expressions: Annotated[int, typer.Option(metavar="N", help="Of each person.", min=1, max=20)] = 2,
    views: Annotated[int, typer.Option(metavar="N", help="Of each capture.", min=2, max=60)] = 12,
    width: Annotated[
        int, typer.Option(metavar="PIXELS", help="Of a photo in portrait.", min=64, max=8192)
    ] = 864,
    height: Annotated[
        int, typer.Option(metavar="PIXELS", help="Of a photo in portrait.", min=64, max=8192)
    ] = 1296,
    detail: Annotated[
        float, typer.Option(metavar="MM", help="Longest triangle edge of the skin.", min=0.2, max=5)
    ] = 0.6,
    face_model: Annotated[
        str, typer.Option(metavar="generic|ict|PATH", help="Face model that heads are drawn from.")
    ] = "generic",
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, other people.", min=0)] = 0,
    workers: Workers = 1,
) -> None:
    """Write synthetic captures exactly as FaceScape publishes its own, to try the whole way without the data.

    1/1_neutral/0.jpg …, params.json, 1/1_neutral.ply, Rt_scale_dict.json: lenses, cameras in portrait and on
    their side, arbitrary units, a view without a valid calibration in each capture, some captures without a
    scan.

    Example: `mesoface facescape synth --out FaceScape --people 3 --expressions 2`
    """
    from mesoface.lab.facescape.generate import GeneratorSettings, generate

    settings = GeneratorSettings(people, expressions, views, width, height, detail, face_model, seed)
    with _resumable(out) as progress:
        generate(out, settings, workers=workers, progress=progress)
    typer.echo(f"captures: {out}")
