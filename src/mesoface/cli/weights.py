"""``mesoface weights``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mesoface.cli.options import command_group

if TYPE_CHECKING:
    from mesoface.files.weights import Card

app = command_group(
    "weights",
    help="Weights of the networks: convert published ones to safetensors, show the contents of a file.\n\n"
    "Nothing is downloaded, and no file is unpickled.\n\n"
    "Example: `mesoface weights import checkpoint_if.pkl checkpoint_reg.pkl --out weights`",
)


@app.command(name="import")
def import_command(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Checkpoints of different networks, in any order; each network is recognised.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the converted weights; made at the very end.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the weights in --out that were imported earlier.")
    ] = False,
) -> None:
    """Convert published checkpoints to safetensors, each with a card that records its origin.

    Accepted are the paper's implicit_function and regularizer, FaceScape's meso_generator, and our own
    surface_matcher and relief_generator. Names and shapes of the tensors must be exactly theirs; a file that
    contains code is refused. The weights.safetensors of a training are accepted too.

    Example:
    `mesoface weights import checkpoint_if.pkl checkpoint_reg.pkl dpmap_single_net_G.pth --out weights`
    """
    from mesoface.running.progress import progress_bars
    from mesoface.weights import import_checkpoints

    with progress_bars() as progress:
        written = import_checkpoints(checkpoints, out, overwrite=overwrite, progress=progress)
    for path in written:
        typer.echo(f"weights: {path}")


@app.command(name="show")
def show_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .safetensors file, or a checkpoint.", show_default=False)
    ],
) -> None:
    """Show what a file of weights contains: network, size, origin, tensors.

    Example: `mesoface weights show weights/regularizer.safetensors`
    """
    from mesoface.weights import describe

    about = describe(file)
    typer.echo(f"network: {about.network.name} ({about.network.what})")
    if about.ngf is not None:
        typer.echo(f"ngf: {about.ngf}")
    typer.echo(f"parameters: {about.parameters:,}")
    typer.echo("\n".join(_origin(about.card)))
    table = Table("tensor", "shape", "type")
    for name in about.network.expected(about.state):
        value = about.state[name]
        table.add_row(name, " × ".join(map(str, value.shape)) or "1", str(value.dtype).removeprefix("torch."))
    Console(highlight=False).print(table)


def _origin(card: Card | None) -> list[str]:
    """Where weights come from, in lines for people."""
    from mesoface.files.weights import WeightsCard

    if card is None:
        return ["made from: not known, there is no card beside it"]
    if isinstance(card, WeightsCard):
        return [f"made from: {card.source}, SHA-256 {card.source_sha256}"]
    return [
        f"trained: {card.steps} steps of the stage {card.stage}, {card.hours:g} h, seed {card.seed}",
        f"on: {card.machine}, mesoface {card.mesoface}, torch {card.torch}",
        *(f"data: {line}" for line in card.data),
        f"command: {card.command}",
        "figures: " + ", ".join(f"{name} {value:g}" for name, value in card.figures.items()),
    ]
