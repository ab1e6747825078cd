"""Trained weights and the card beside them that says how they came to be."""

from __future__ import annotations

import math
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

import mesoface
from mesoface.atomic import atomic_file
from mesoface.training.checkpoint import save_tensors
from mesoface.training.config import PatchSource, Source, TrainingConfig
from mesoface.training.recipe import Stage

WEIGHTS, CARD = "weights.safetensors", "card.json"

_NAMES = {
    ("ours", "matching"): "surface_matcher",
    ("ours", "regularizer"): "surface_matcher",
    ("paper", "matching"): "implicit_function",
    ("paper", "regularizer"): "regularizer",
}


class TrainingCard(BaseModel):
    """How weights were trained; stands beside them as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["mesoface-trained-1"] = "mesoface-trained-1"
    network: str
    stage: Stage
    parameters: int
    data: tuple[str, ...]
    config: dict[str, Any]
    command: str
    seed: int
    steps: int
    hours: float
    machine: str
    mesoface: str
    torch: str
    figures: dict[str, float]


def training_card(
    config: TrainingConfig,
    stage: Stage,
    network: nn.Module,
    *,
    steps: int,
    seconds: float,
    figures: dict[str, float],
) -> TrainingCard:
    """The card of ``network`` after ``steps`` that took ``seconds``; ``figures`` of the last validation."""
    return TrainingCard(
        network=_NAMES[config.network, stage],
        stage=stage,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data=tuple(_described(source) for source in config.data),
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


def _described(source: Source) -> str:
    if isinstance(source, PatchSource):
        return f"{source.pool} skin patches of {source.size} x {source.size} texels, seed {source.seed}"
    return f"tiles of captures in {source.folder.name}"


def _machine() -> str:
    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return f"{cpu}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else cpu
