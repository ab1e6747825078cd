"""``mesoface train meso``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesoface.errors import InterruptedJobsError


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
            help="Start again from nothing: what is in the run's folder goes. Squares that were made stay.",
        ),
    ] = False,
) -> None:
    """Train the network that predicts mesoscopic relief (pores, fine wrinkles) from texture.

    It learns from squares of drawn skin whose relief is known, and from your own pairs of texture and
    displacement map (FaceScape's dpmap files as they are). Squares are made first, by machine.workers
    processes, and kept. Writes checkpoints, log.csv, validation.csv, validation.png, weights.safetensors and
    card.json into the folder that the configuration names as `out`. Run again, it goes on from where it was.

    Example: `mesoface train meso --config configs/meso.toml`
    """
    from mesoface.lab.training.relief.config import read_meso_config
    from mesoface.lab.training.relief.run import train_meso

    settings = read_meso_config(config)
    outcome = train_meso(settings, fresh=fresh)
    if not outcome.finished:
        raise InterruptedJobsError(
            f"stopped at step {outcome.step} of {settings.steps}, which is kept",
            path=settings.out,
            remedy="run the same command again to go on",
        )
    typer.echo(f"weights: {outcome.weights}")
