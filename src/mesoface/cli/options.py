"""What several commands have in common: options, also those made from a model's fields
(:func:`.config.option`), groups of commands, and work that can be interrupted.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mesoface.config import INPUT, make
from mesoface.errors import InterruptedJobsError
from mesoface.running.progress import ProgressCallback, progress_bars

CaptureArgument = Annotated[
    Path, typer.Argument(help="Folder with photos and calibration.", show_default=False)
]
ResultArgument = Annotated[
    Path, typer.Argument(help="Folder that `mesoface reconstruct` wrote.", show_default=False)
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="Format of the calibration: plain, facescape, colmap, nerfstudio, metashape, realitycapture, "
        "openmvg, meshroom, opencv_rig or opencv. Left out: recognised from the folder's files.",
        rich_help_panel=INPUT,
    ),
]
Workers = Annotated[
    int, typer.Option(metavar="N", help="Processes at a time, of one thread each.", min=1, max=256)
]


def command_group(name: str, help: str) -> typer.Typer:
    """A group of commands, which prints its help when it is called without one of them."""
    app = typer.Typer(name=name, help=help, invoke_without_command=True, rich_markup_mode="markdown")

    @app.callback()
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return app


@contextmanager
def resumable(out: Path, kept: str = "captures") -> Iterator[ProgressCallback]:
    """Progress bars for work in ``out``; Ctrl-C becomes an error that names what is ``kept``.

    Raises:
        InterruptedJobsError: the work was interrupted.
    """
    try:
        with progress_bars(remaining=True) as progress:
            yield progress
    except KeyboardInterrupt as stop:
        raise InterruptedJobsError(
            f"interrupted; the {kept} that were complete are kept",
            path=out,
            remedy="run the same command again to go on",
        ) from stop


def takes(
    defaults: Mapping[str, Any] | None = None,
    *,
    without: Collection[str] = (),
    panel: str | None = None,
    **models: type[BaseModel],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of models as options, in place of one parameter for each model.

    A value out of range is an error that names the option or the field.

    Args:
        defaults: of fields that this command has another default for.
        without: fields that are no options of this command and keep their defaults.
        panel: group of all these options in the help; None: each field's own.
        models: {parameter of the command: the model that it is given}.
    """
    fields = {
        name: (parameter, field)
        for parameter, model in models.items()
        for name, field in model.model_fields.items()
        if name not in without
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters

        @wraps(command)
        def with_options(**values: Any) -> None:
            given: dict[str, dict[str, Any]] = {parameter: {} for parameter in models}
            for name, (parameter, field) in fields.items():
                given[parameter][name] = _value(values.pop(_option(name, field)), field)
            made = {parameter: make(model, **given[parameter]) for parameter, model in models.items()}
            command(**made, **values)

        listed = [parameter for name, parameter in own.items() if name not in models]
        listed += _parameters({name: field for name, (_, field) in fields.items()}, defaults or {}, panel)
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in listed]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


def _parameters(
    fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any], panel: str | None
) -> Iterator[inspect.Parameter]:
    for name, field in fields.items():
        kind, extra = _kind(field), _extra(field)
        choices = "|".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else None
        flag = f"--{_option(name, field).replace('_', '-')}"
        option = typer.Option(
            *([f"{flag}/--no-{flag[2:]}" if field.default else flag] if kind is bool else []),
            help=field.description,
            metavar=extra["metavar"] or choices,
            rich_help_panel=panel or extra["panel"],
            min=_limit(field, "ge"),
            max=_limit(field, "le"),
        )
        yield inspect.Parameter(
            _option(name, field),
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, field.default),
            annotation=Annotated[kind, option],
        )


def _option(name: str, field: FieldInfo) -> str:
    """The option's name, as a parameter of the command."""
    return _extra(field)["name"] or name


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "made by mesoface.config.option"
    return extra


def _kind(field: FieldInfo) -> Any:
    """The type that the command line reads: choices and lists of names are words, checked by the model."""
    of = field.annotation
    kinds = get_args(of) if get_origin(of) in (Union, types.UnionType) else (of,)
    optional, wanted = type(None) in kinds, [kind for kind in kinds if kind is not type(None)]
    # A number or a word is read as a word.
    inner = wanted[0] if len(wanted) == 1 else str
    kind = inner if inner in (int, float, bool, str, Path) else str
    return kind | None if optional else kind


def _limit(field: FieldInfo, which: Literal["ge", "le"]) -> Any:
    return next((getattr(m, which) for m in field.metadata if getattr(m, which, None) is not None), None)


def _value(given: Any, field: FieldInfo) -> Any:
    """A list of names from the words on the command line; everything else as it is."""
    if isinstance(given, str) and any(get_origin(kind) is tuple for kind in get_args(field.annotation)):
        return tuple(name.strip() for name in given.split(",") if name.strip())
    return given
