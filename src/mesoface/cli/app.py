"""Entry point: the commands put together, and errors turned into one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

import mesoface
from mesoface.cli import evaluate, inspect, reconstruct, synth
from mesoface.errors import MesofaceError

app = typer.Typer(
    name="mesoface",
    help="Calibrated face photos in; a measured, pore-level 3D face out.\n\n"
    "Start with [bold]mesoface inspect CAPTURE[/bold], then [bold]mesoface reconstruct CAPTURE --out DIR[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command(name="inspect")(inspect.command)
app.command(name="reconstruct")(reconstruct.command)
app.command(name="evaluate")(evaluate.command)
app.command(name="synth")(synth.command)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mesoface {mesoface.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """See the help text above; this only carries ``--version``."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 something the user can mend, 130 interrupted."""
    try:
        app()
    except MesofaceError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {_plain(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        # Worker threads may be deep in native code: do not wait for them.
        sys.stderr.flush()
        os._exit(130)


def _plain(error: MesofaceError) -> str:
    """The message without rich markup being read into it, on one line."""
    return " ".join(str(error).split()).replace("[", r"\[")
