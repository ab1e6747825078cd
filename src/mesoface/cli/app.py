"""Entry point: the commands put together, and errors turned into one line and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main
from rich.console import Console
from rich.markup import escape

import mesoface
from mesoface.cli import (
    batch,
    calibrate,
    convert,
    evaluate,
    export,
    inspect,
    reconstruct,
    schema,
    view,
    weights,
)
from mesoface.errors import NATIVE_PACKAGES, MesofaceError, missing_package

_BAD_INPUT, _INTERRUPTED = 2, 130
# What typer raises for a wrong option. It has no public name of its own, only its kind BadParameter has.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_LABORATORY = ("synth", "synth-dataset", "train", "facescape")


class _Commands(typer.core.TyperGroup):
    """The commands. Those of the laboratory are imported when they are looked up: no other loads its code."""

    def __init__(self, **attributes: Any):
        super().__init__(**attributes)
        self._known = dict(self.commands)
        self.commands.update({name: typer.core.TyperCommand(name) for name in _LABORATORY})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _LABORATORY and cmd_name not in self._known:
            group = typer.Typer(add_completion=False, rich_markup_mode="markdown")
            group.add_typer(import_module(f"mesoface.cli.{cmd_name.replace('-', '_')}").app)
            self._known |= typer.main.get_group(group).commands
        return self._known.get(cmd_name)


app = typer.Typer(
    name="mesoface",
    cls=_Commands,
    help="Calibrated face photos in; a measured, pore-level 3D face out.\n\n"
    "Start with `mesoface inspect CAPTURE`, then `mesoface reconstruct CAPTURE --out DIR`.\n\n"
    "A capture is a folder with photos of one face at one moment and the cameras' calibration: FaceScape's "
    "`params.json`, a COLMAP model, Metashape's XML and others (docs/formats.md). Exit codes: 0 done, 2 "
    "something to mend (one line says what), 3 some of many captures failed, 130 interrupted.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command(name="calibrate")(calibrate.command)
app.command(name="inspect")(inspect.command)
app.command(name="reconstruct")(reconstruct.command)
app.command(name="batch")(batch.command)
app.command(name="export")(export.command)
app.command(name="convert")(convert.command)
app.command(name="schema")(schema.command)
app.command(name="evaluate")(evaluate.command)
app.command(name="view")(view.command)
app.add_typer(weights.app)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mesoface {mesoface.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 something to mend, 3 some of many failed, 130 stopped."""
    try:
        code = app(standalone_mode=False)
    except MesofaceError as error:
        _fail(str(error))
        sys.exit(error.exit_code)
    except _UsageError as error:
        code = _fail(_usage(error))
    except OSError as error:  # of a file that nobody expected to fail
        code = _fail(f"{error.filename or 'a file'}: {error.strerror or error} — check the file and the disk")
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in NATIVE_PACKAGES:
            raise
        code = _fail(str(missing_package(error)))
    except MemoryError:
        code = _fail("not enough memory — use fewer --views or --preset fast, or close other programs")
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer, too, makes this number of a KeyboardInterrupt
        print("interrupted; nothing was written", file=sys.stderr)
        # What was half-written is gone by now. Worker threads may be deep in native code: not waited for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_INTERRUPTED)
    sys.exit(code or 0)


def _fail(message: str) -> int:
    """Print ``message`` as one line on stderr; the exit code."""
    line = escape(" ".join(message.split()))  # no markup is read into it
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {line}")
    return _BAD_INPUT


def _usage(error: Exception) -> str:
    """A wrong option in words, with where to read on."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mesoface"
    message = error.format_message().rstrip(".").replace("Value error, ", "")  # type: ignore[attr-defined]
    return f"{message} — see `{command} --help`"
