"""``mesoface train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesoface.cli.options import Workers, command_group, resumable
from mesoface.errors import InterruptedJobsError

if TYPE_CHECKING:
    from mesoface.lab.training.config import Stage

app = command_group(
    "train",
    help="Train the networks: `matching` first, then `regularizer`; and `meso`.\n\n"
    "Needs `pip install 'mesoface[train]'`. Ctrl-C or SIGTERM ends a training after the current step; "
    "the same command resumes it.\n\n"
    "Example: `mesoface train matching --config configs/matching.toml`",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards; shards in it are kept.")]

_STAGES: dict[Stage, str] = {
    "matching": """Train image features and implicit function through the matching cost.

    Writes checkpoints, log.csv, validation.csv, validation.png, weights.safetensors and card.json into the
    folder that the configuration names as `out`. Run again, it resumes from the last checkpoint.

    Example: `mesoface train matching --config configs/matching.toml`
    """,
    "regularizer": """Train the regulariser, and by default all before it, on the matching stage's weights.

    Example: `mesoface train regularizer --config configs/regularizer.toml`
    """,
    "meso": """Train the network that predicts mesoscopic relief (pores, fine wrinkles) from texture.

    It learns from squares of drawn skin whose relief is known, and from your own pairs of texture and
    displacement map (FaceScape's dpmap files as they are). Squares are made first, by machine.workers
    processes, and kept. Writes checkpoints, log.csv, validation.csv, validation.png, weights.safetensors and
    card.json into the folder that the configuration names as `out`. Run again, it resumes.

    Example: `mesoface train meso --config configs/meso.toml`
    """,
}


def _stage_command(stage: Stage) -> Callable[..., None]:
    """The command that trains a stage."""

    def command(
        config: Annotated[
            Path,
            typer.Option(
                "--config",
                "-c",
                metavar="FILE",
                help="TOML or JSON; docs/training.md lists the keys.",
                show_default=False,
            ),
        ],
        fresh: Annotated[
            bool,
            typer.Option(
                "--fresh",
                help="Start again from nothing: remove what an earlier run left in its folder. "
                "Patches and squares that were made are kept.",
            ),
        ] = False,
        devices: Annotated[
            int | None,
            typer.Option(
                metavar="N",
                help="GPUs, or processes on the CPU, of this machine. Left out: as configured.",
                min=1,
                max=64,
                show_default=False,
            ),
        ] = None,
        nodes: Annotated[
            int | None,
            typer.Option(
                metavar="N",
                help="Machines, on each of which this command is started; docs/training.md says how.",
                min=1,
                max=1024,
                show_default=False,
            ),
        ] = None,
    ) -> None:
        from mesoface.lab.training.config import CONFIGS, on_machine, read_config
        from mesoface.lab.training.run import train

        settings = on_machine(read_config(config, CONFIGS[stage]), devices=devices, nodes=nodes)
        outcome = train(settings, fresh=fresh)
        if outcome.weights is None:  # one of several processes, of which the first one reports
            return
        if not outcome.finished:
            raise InterruptedJobsError(
                f"stopped at step {outcome.step} of {settings.steps}, which is kept",
                path=settings.out,
                remedy="run the same command again to resume",
            )
        typer.echo(f"weights: {outcome.weights}")

    return command


for _stage, _help in _STAGES.items():
    app.command(name=_stage, help=_help)(_stage_command(_stage))


@app.command(name="tiles")
def tiles_command(
    captures: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR|LIST",
            help="A capture in FaceScape's layout, a folder of captures, or a text file that names one a "
            "line; may be given several times.",
        ),
    ],
    out: Out,
    workers: Workers = 1,
    truth_name: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File in each capture's folder with its true surface. Left out: gt.ply, else NAME.ply "
            "beside the capture's folder NAME.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Millimetres per unit of the captures' worlds. Left out: as each capture states.",
            min=1e-6,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed gives other tiles.", min=0)] = 0,
    size: Annotated[int, typer.Option(metavar="TEXELS", help="Side of a tile.", min=16, max=256)] = 64,
) -> None:
    """Cut training tiles from captures whose true surface is known.

    Each capture is matched classically, coarse to fine. Tiles are cut from the input of every level, with the
    true displacement along its normals. A true surface that does not fit the photos is refused, with the
    reason, and its capture skipped (exit code 3). Run the command again to resume, or to add captures.

    Example: `mesoface train tiles --captures captures --out tiles --workers 4`
    """
    from mesoface.lab.training.prepare import prepare_tiles

    with resumable(out, kept="shards") as progress:
        prepare_tiles(
            captures,
            out,
            workers=workers,
            truth_name=truth_name,
            scale=scale,
            seed=seed,
            size=size,
            progress=progress,
        )
    typer.echo(f"tiles: {out}")


@app.command(name="pack")
def pack_command(
    tiles: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR", help="A folder that `mesoface train tiles` wrote; may be given several times."
        ),
    ],
    out: Out,
    per_shard: Annotated[
        int, typer.Option(metavar="N", help="Tiles in a shard; one has about 0.7 MB.", min=1, max=10_000)
    ] = 200,
    workers: Workers = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed gives another order.", min=0)] = 0,
) -> None:
    """Pack tiles for training sets that do not fit in memory.

    All tiles are shuffled once and written, uncompressed, into safetensors files of some hundred megabytes,
    which training then reads from front to back: a source of kind "stream" in its configuration. Run the
    command again to resume.

    Example: `mesoface train pack --tiles tiles --out packed --workers 4`
    """
    from mesoface.lab.training.pack import pack_tiles

    with resumable(out, kept="shards") as progress:
        count = pack_tiles(tiles, out, per_shard=per_shard, seed=seed, workers=workers, progress=progress)
    typer.echo(f"{count} tiles: {out}")
