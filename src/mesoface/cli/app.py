"""Entry point: the commands put together, and errors turned into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

import mesoface
from mesoface.errors import NATIVE_PACKAGES, MesofaceError, missing_package

_COMMANDS = (
    *("calibrate", "inspect", "reconstruct", "batch", "export", "convert", "schema", "evaluate", "view"),
    *("synth", "synth-dataset", "train", "facescape", "weights"),
)
"""In the order of the help. Each stands in the module of its name, as ``command`` or, with commands below it,
as ``app``; the module is imported when the command is used."""
_BAD_INPUT, _INTERRUPTED = 2, 130
# What typer raises for a wrong option. It has no public name of its own, only its kind BadParameter has.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class _Commands(Mapping[str, Any]):
    """The commands by their names, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        if name not in _COMMANDS:
            raise KeyError(name)
        module = import_module(f"mesoface.cli.{name.replace('-', '_')}")
        holder = typer.Typer(rich_markup_mode="markdown", add_completion=False)
        holder.callback()(lambda: None)  # with it, the holder is a group even of one command
        if hasattr(module, "app"):
            holder.add_typer(module.app)
        else:
            holder.command(name=name)(module.command)
        return typer.main.get_command(holder).commands[name]  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any):
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    name="mesoface",
    cls=_Group,
    help="Calibrated face photos in; a measured, pore-level 3D face out.\n\n"
    "Start with `mesoface inspect CAPTURE`, then `mesoface reconstruct CAPTURE --out DIR`.\n\n"
    "A capture is a folder with photos of one face at one moment and the cameras' calibration: FaceScape's "
    "`params.json`, a COLMAP model, Metashape's XML and others (docs/formats.md). Exit codes: 0 done, 2 "
    "an error to mend (one line of stderr), 3 some of many captures failed, 130 interrupted.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


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
    except OSError as error:  # of a file, where no error was expected
        code = _fail(f"{error.filename or 'a file'}: {error.strerror or error} — check the file and the disk")
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in NATIVE_PACKAGES:
            raise
        code = _fail(str(missing_package(error)))
    except MemoryError:
        code = _fail("not enough memory — use fewer --views or --preset fast, or close other programs")
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer returns this number for a KeyboardInterrupt, too
        print("interrupted; nothing was written", file=sys.stderr)
        # Temporary files are removed by now. Worker threads may be in native code: they are not waited for.
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
