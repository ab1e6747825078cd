"""``mesoface weights``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mesoface.files.cards import Card

app = typer.Typer(
    name="weights",
    help="Networks' weights: convert published ones to safetensors, show what a file holds.\n\n"
    "Nothing is downloaded, and no file is unpickled.\n\n"
    "Example: `mesoface weights import checkpoint_if.pkl checkpoint_reg.pkl --out weights`",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(name="import")
def import_command(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Checkpoints of different networks, in any order; which is which shows in them.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the converted weights; made at the very end.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the weights imported earlier that are in --out.")
    ] = False,
) -> None:
    """Convert published checkpoints to safetensors, with a card that says where each is from.

    Known are the paper's implicit_function and regularizer, FaceScape's meso_generator, and our own
    surface_matcher and relief_generator. The tensors must have exactly their names and shapes; a file that
    holds code beside tensors is refused. The weights.safetensors of a training are taken, too.

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
    """What a file of weights holds: network, size, origin, tensors.

    Example: `mesoface weights show weights/regularizer.safetensors`
    """
    from mesoface.weights import describe

    about = describe(file)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"network: {about.network.name} ({about.network.what})", markup=False)
    if about.ngf is not None:
        console.print(f"ngf: {about.ngf}")
    console.print(f"parameters: {about.parameters:,}")
    for line in _origin(about.card):
        console.print(line, markup=False)
    table = Table("tensor", "shape", "type")
    for name in about.network.expected(about.state):
        value = about.state[name]
        table.add_row(name, " × ".join(map(str, value.shape)) or "1", str(value.dtype).removeprefix("torch."))
    console.print(table)


def _origin(card: Card | None) -> list[str]:
    """Where weights come from, in lines for people."""
    from mesoface.files.cards import WeightsCard

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
