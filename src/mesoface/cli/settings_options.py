"""The options that make up :class:`mesoface.config.Settings`, once for all commands that reconstruct.

A command takes them all by the decorator :func:`takes_settings`, which is where its help gets them from.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from mesoface.config import Settings, make_settings

INPUT, METHOD, RESULT = "Input", "Method", "Result"
"""Panels of the help."""

FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="Format of the calibration: plain, facescape, colmap, nerfstudio, metashape, realitycapture, "
        "openmvg, meshroom or opencv. Left out: found by looking at the folder.",
        rich_help_panel=INPUT,
    ),
]


def settings_from_options(
    views: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=2,
            max=120,
            help="Use this many views: spread around the face, sharp, with the whole face in them.",
            rich_help_panel=INPUT,
        ),
    ] = 10,
    view_ids: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Use exactly these views instead, separated by commas, e.g. 0,3,4,7. "
            "`mesoface inspect` lists the names.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="MM_PER_UNIT",
            help="Millimetres per unit of the calibration's world: 1 where that is in mm, 1000 where it is "
            "in metres. Left out: from the format where it says so, else from the size of the eyes (± 5 %).",
            rich_help_panel=INPUT,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="fast|default|best|paper",
            help="How fine, and how long: measured on a grid of up to 512², 768² or 1024² points. paper: the "
            "published networks and their volume, minutes; needs --weights.",
            rich_help_panel=METHOD,
        ),
    ] = "default",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Weights of the learned matcher, a .safetensors file, instead of those that come with "
            "mesoface. For --preset paper: the folder that `mesoface weights import` made.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    memory: Annotated[
        int,
        typer.Option(
            metavar="MB",
            min=16,
            help="Memory for what a learned matcher computes at a time; the photos' features come on top.",
            rich_help_panel=METHOD,
        ),
    ] = 1024,
    face_model: Annotated[
        str,
        typer.Option(
            metavar="generic|ict|PATH",
            help="Face model that the base mesh comes from: generic is built in; ict, or the path of an ICT, "
            "FaceScape or FLAME model, is a file of yours.",
            rich_help_panel=METHOD,
        ),
    ] = "generic",
    matcher: Annotated[
        str,
        typer.Option(
            metavar="learned|ncc",
            help="How photos are compared. learned: by correlation, and by a network that goes on from it. "
            "ncc: by correlation alone; two thirds of the time, half the memory. --preset paper has its own.",
            rich_help_panel=METHOD,
        ),
    ] = "learned",
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda",
            help="Where matching runs; auto takes a GPU where there is one.",
            rich_help_panel=METHOD,
        ),
    ] = "auto",
    threads: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=64,
            help="Threads for matching and texture on the CPU.",
            rich_help_panel=METHOD,
        ),
    ] = min(8, os.cpu_count() or 2),
    until: Annotated[
        str,
        typer.Option(
            metavar="base|fine",
            help="base: stop at the face model fitted to the landmarks. fine: measure the surface.",
            rich_help_panel=RESULT,
        ),
    ] = "fine",
    texture_size: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Side of the texture in texels, 64 to 8192; 0 for none. At 2048 a texel is some 0.1 mm.",
            rich_help_panel=RESULT,
        ),
    ] = 2048,
    meso: Annotated[
        str,
        typer.Option(
            metavar="learned|shading|off",
            help="Relief finer than what photos measure (pores, fine lines), told from the texture and "
            "kept apart from what was measured. learned: by a network. shading: dark is deep. off: measured "
            "relief only.",
            rich_help_panel=RESULT,
        ),
    ] = "learned",
    meso_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the network for --meso learned, as `mesoface train meso` writes them, "
            "instead of those that come with mesoface.",
            rich_help_panel=METHOD,
        ),
    ] = None,
) -> Settings:
    """The settings that the options stand for.

    Raises:
        MesofaceError: a value out of range; the message names it.
    """
    names = (
        tuple(name.strip() for name in view_ids.split(",") if name.strip()) if view_ids is not None else None
    )
    return make_settings(
        face_model=face_model,
        matcher=matcher,
        preset=preset,
        weights=weights,
        memory_mb=memory,
        views=views,
        view_ids=names,
        until=until,
        texture_size=texture_size,
        meso=meso,
        meso_weights=meso_weights,
        scale=scale,
        device=device,
        threads=threads,
    )


def takes_settings(**defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of :func:`settings_from_options` in place of its parameter ``settings``.

    Args:
        defaults: of options that this command has another default for, by name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(settings_from_options, eval_str=True).parameters
        own = inspect.signature(command, eval_str=True).parameters

        @wraps(command)
        def with_options(**values: Any) -> None:
            settings = settings_from_options(**{name: values.pop(name) for name in shared})
            command(settings=settings, **values)

        listed = [parameter for name, parameter in own.items() if name != "settings"]
        listed += [p.replace(default=defaults.get(name, p.default)) for name, p in shared.items()]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in listed]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate
