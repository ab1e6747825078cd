"""Trained weights and the card beside them that says how they came to be."""

from __future__ import annotations

import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import mesoface
from mesoface.files.atomic import atomic_file
from mesoface.files.cards import CARD, WEIGHTS, TrainingCard
from mesoface.lab.training.checkpoint import save_tensors
from mesoface.lab.training.config import PatchSource, RunConfig, Source, StreamSource, TrainingConfig
from mesoface.lab.training.recipe import Stage

_NAMES = {
    ("ours", "matching"): "surface_matcher",
    ("ours", "regularizer"): "surface_matcher",
    ("paper", "matching"): "implicit_function",
    ("paper", "regularizer"): "regularizer",
}


def training_card(
    config: RunConfig,
    network: nn.Module,
    *,
    name: str,
    stage: Stage | Literal["meso"],
    data: Sequence[str],
    steps: int,
    seconds: float,
    figures: Mapping[str, float],
) -> TrainingCard:
    """The card of a network after a training, or in its course.

    Args:
        config: of the run.
        network: that was trained.
        name: of the network, as in ``mesoface.weights.NETWORKS``.
        stage: what was trained.
        data: what it was trained on, in words.
        steps: that were done.
        seconds: that they took.
        figures: of the last validation.
    """
    return TrainingCard(
        network=name,
        stage=stage,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data=tuple(data),
        config=config.model_dump(mode="json"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        seed=config.seed,
        steps=steps,
        hours=round(seconds / 3600, 3),
        machine=_machine(),
        mesoface=mesoface.__version__,
        torch=torch.__version__,
        figures={name: round(value, 5) for name, value in figures.items() if math.isfinite(value)},
    )


def save_network(folder: Path, network: nn.Module, card: TrainingCard) -> Path:
    """Write ``weights.safetensors`` and ``card.json``; the weights' path."""
    save_tensors(folder / WEIGHTS, network.state_dict(), {"format": card.format, "network": card.network})
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder / WEIGHTS


def network_name(config: TrainingConfig, stage: Stage) -> str:
    """Whose weights a stage's training writes."""
    return _NAMES[config.network, stage]


def described(source: Source) -> str:
    """A source of tiles in words."""
    if isinstance(source, PatchSource):
        return f"{source.pool} skin patches of {source.size} x {source.size} texels, seed {source.seed}"
    packed = "packed " if isinstance(source, StreamSource) else ""
    return f"{packed}tiles of captures in {source.folder.name}"


def _machine() -> str:
    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return f"{cpu}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else cpu
