"""``mesoface train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesoface.cli import train_meso, train_pack, train_tiles
from mesoface.errors import InterruptedJobsError

if TYPE_CHECKING:
    from mesoface.lab.training.recipe import Stage

app = typer.Typer(
    name="train",
    help="Train the networks: `matching` first, then `regularizer`; and `meso`.\n\n"
    "Needs `pip install 'mesoface[train]'`. Ctrl-C or SIGTERM ends a training after the step that it is at; "
    "the same command goes on from there.\n\n"
    "Example: `mesoface train matching --config configs/matching.toml`",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)
app.command(name="tiles")(train_tiles.command)
app.command(name="pack")(train_pack.command)
app.command(name="meso")(train_meso.command)

Config = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="TOML or JSON; docs/training.md lists the keys.",
        show_default=False,
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start again from nothing: what is in the run's folder goes.")
]
Devices = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="GPUs, or processes on the CPU, of this machine. Left out: what the configuration says.",
        min=1,
        max=64,
        show_default=False,
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Machines, on each of which this command is started; docs/training.md says how.",
        min=1,
        max=1024,
        show_default=False,
    ),
]


@app.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(name="matching")
def matching_command(
    config: Config, fresh: Fresh = False, devices: Devices = None, nodes: Nodes = None
) -> None:
    """Train image features and implicit function through the matching cost.

    Writes checkpoints, log.csv, validation.csv, validation.png, weights.safetensors and card.json into the
    folder that the configuration names as `out`. Run again, it goes on from the last checkpoint.

    Example: `mesoface train matching --config configs/matching.toml`
    """
    _train("matching", config, fresh, devices, nodes)


@app.command(name="regularizer")
def regularizer_command(
    config: Config, fresh: Fresh = False, devices: Devices = None, nodes: Nodes = None
) -> None:
    """Train the regulariser, and by default all before it, from the weights of the matching stage.

    Example: `mesoface train regularizer --config configs/regularizer.toml`
    """
    _train("regularizer", config, fresh, devices, nodes)


def _train(stage: Stage, file: Path, fresh: bool, devices: int | None, nodes: int | None) -> None:
    from mesoface.lab.training.config import on_machine, read_config
    from mesoface.lab.training.run import train

    config = on_machine(read_config(file, stage), stage, devices=devices, nodes=nodes)
    outcome = train(config, stage, fresh=fresh)
    if outcome.weights is None:  # one of several processes, of which the first one speaks
        return
    if not outcome.finished:
        raise InterruptedJobsError(
            f"stopped at step {outcome.step} of {config.steps}, which is kept",
            path=config.out,
            remedy="run the same command again to go on",
        )
    typer.echo(f"weights: {outcome.weights}")
