"""The configuration of a training, read from TOML or JSON and checked before any work is done."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesoface.errors import MesofaceError
from mesoface.lab.training.recipe import Stage

_LARGEST_FILE = 1 << 20
_KINDS = ("tiles", "patches", "stream", "skin", "pairs")  # of sources, of whatever training

Config = TypeVar("Config", bound=BaseModel)


class TrainingError(MesofaceError):
    """A training cannot start, or cannot go on."""


class Section(BaseModel):
    """A part of a configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TileSource(Section):
    """Tiles that were made before: a folder of shards, as ``mesoface train tiles`` writes them."""

    kind: Literal["tiles"]
    folder: Path = Field(description="folder with `*.npz` shards")
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


class PatchSource(Section):
    """Skin patches, generated when they are first asked for and kept on disk."""

    kind: Literal["patches"]
    pool: int = Field(2000, ge=1, description="how many different patches there are")
    size: int = Field(64, ge=16, le=256, description="side of a patch, texels")
    seed: int = Field(0, ge=0, description="another seed, another pool")
    cache: Path = Field(Path("runs/patches"), description="folder that pools are kept in")
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


class StreamSource(Section):
    """Tiles that ``mesoface train pack`` packed, read one after the other: for data beyond the memory."""

    kind: Literal["stream"]
    folder: Path = Field(description="folder with `stream.json` and its shards")
    buffer: int = Field(
        512, ge=1, le=1 << 20, description="tiles in memory, over all devices, among which the next is drawn"
    )
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


Source = Annotated[TileSource | PatchSource | StreamSource, Field(discriminator="kind")]


class Validation(Section):
    """What the network is measured on while it trains; never trained on."""

    sources: tuple[Source, ...] = Field(min_length=1)
    tiles: int = Field(48, ge=1, description="how many tiles at most, spread evenly over the sources")
    every: int = Field(250, ge=1, description="optimiser steps between two validations")


class OptimizerSettings(Section):
    """AdamW, and how its learning rate goes: a linear warm-up, then half a cosine down, or level."""

    rate: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup: int = Field(100, ge=0, description="steps until it is reached")
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: float = Field(0.01, ge=0, le=1, description="share of the rate at the last step (cosine)")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient; longer ones are shortened")


class LossWeights(Section):
    """Weights of the parts of the loss of our network."""

    sigma: float = Field(0.6, gt=0, description="of the Gaussian around the truth, steps")
    cost: float = Field(0.1, ge=0, description="cross-entropy of the implicit function's own cost")
    distribution: float = Field(0.3, ge=0, description="cross-entropy after the regulariser")
    displacement: float = Field(2.0, ge=0, description="log error, relative to the classical matcher's")
    slope: float = Field(1.0, ge=0, description="L1 of the slopes, relative to the classical matcher's")
    confidence: float = Field(0.2, ge=0, description="cross-entropy of: within a step of the truth")


class Machine(Section):
    """Where and how fast; changes no result beyond rounding, so that a run may move to another machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(1, ge=1, le=64, description="how many GPUs, or processes on the CPU, a machine")
    nodes: int = Field(1, ge=1, le=1024, description="how many machines")
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: int = Field(0, ge=0, le=64, description="processes that prepare tiles, for each device")
    threads: int | None = Field(
        None, ge=1, le=256, description="torch's CPU threads; left out: its own choice"
    )


class RunConfig(Section):
    """What every training has."""

    out: Path = Field(description="folder of the run: checkpoints, logs, pictures, weights")
    seed: int = Field(0, ge=0)
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(4, ge=1, le=1024, description="samples for one optimiser step, over all devices")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of a running average of the weights, which is written; 0: none"
    )
    init: Path | None = Field(None, description="safetensors of the same network to start from")
    checkpoint_every: int = Field(100, ge=1, description="optimiser steps; what a crash can cost")
    log_every: int = Field(10, ge=1, description="optimiser steps averaged in a row of log.csv")
    tensorboard: bool = Field(False, description="also write TensorBoard events; it must be installed")
    optimizer: OptimizerSettings = OptimizerSettings()


class TrainingConfig(RunConfig):
    """What is trained, on what tiles, for how long."""

    network: Literal["ours", "paper"] = "ours"
    augment: bool = Field(True, description="disturb tiles before training sees them")
    data: tuple[Source, ...] = Field(min_length=1)
    validation: Validation
    loss: LossWeights = LossWeights()
    machine: Machine = Machine()


class RegularizerConfig(TrainingConfig):
    """The second stage starts from the first one's weights."""

    matching: Path | None = Field(None, description="weights.safetensors of the matching stage")
    freeze_matching: bool = Field(False, description="train the regulariser alone")


# What a run that goes on may have otherwise than when it began: it changes no sample and no gradient beyond
# rounding. `steps` changes the schedule that is left, `average` what is written,
# `validation` what is measured.
_MAY_CHANGE = {"steps", "average", "checkpoint_every", "log_every", "tensorboard", "validation", "machine"}


def read_config(path: str | Path, stage: Stage) -> TrainingConfig:
    """Read and check a configuration.

    Args:
        path: ``.toml`` or ``.json``. Relative paths in it are relative to the working directory.
        stage: what it is for.

    Raises:
        TrainingError: the file cannot be read, or a key is unknown, missing or out of range.
    """
    return check_config(read_values(path), stage, path)


def read_values(path: str | Path) -> Any:
    """What a ``.toml`` or ``.json`` file of a configuration holds, as plain values.

    Raises:
        TrainingError: the file cannot be read.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TrainingError("is too large for a configuration", path=path)
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise TrainingError(
            f"cannot be read: {error.strerror}", path=path, remedy="see configs/ for examples"
        ) from None
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise TrainingError(
            f"is not {kind}: {error}", path=path, remedy="see configs/ for examples"
        ) from None


def validated(model: type[Config], values: Any, path: str | Path | None = None) -> Config:
    """``values`` as a ``model``; ``path`` is for messages.

    Raises:
        TrainingError: a key is unknown, missing or out of range.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        # a source's place is (data, 0, tiles, folder): its kind is no key
        key = ".".join(str(part) for part in problem["loc"] if part not in _KINDS)
        got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        raise TrainingError(
            f"{key or 'the configuration'}: {reason}{got}",
            path=path,
            remedy="docs/training.md lists the keys",
        ) from None


def check_config(values: Any, stage: Stage, path: str | Path | None = None) -> TrainingConfig:
    """A configuration from plain values; ``path`` is for messages.

    Raises:
        TrainingError: see :func:`read_config`.
    """
    config = validated(RegularizerConfig if stage == "regularizer" else TrainingConfig, values, path)
    both = {_place(source) for source in config.data} & {_place(s) for s in config.validation.sources}
    if both:
        raise TrainingError(
            f"validation.sources: {', '.join(map(str, sorted(both)))} is trained on as well",
            path=path,
            remedy="validate on other tiles, or on patches of another seed",
        )
    if isinstance(config, RegularizerConfig) and config.freeze_matching and not config.matching:
        raise TrainingError(
            "freeze_matching: there is nothing to freeze", path=path, remedy="name the weights as `matching`"
        )
    _check_shares(config, path)
    return config


def _check_shares(config: TrainingConfig, path: str | Path | None) -> None:
    """Whether batches are shared evenly by the devices, and streams by their loaders."""
    machine = config.machine
    devices = machine.devices * machine.nodes
    if config.batch % devices:
        raise TrainingError(
            f"batch: {config.batch} tiles are not shared evenly by {devices} machine.devices",
            path=path,
            remedy="make batch a multiple of it",
        )
    share, streams = config.batch // devices, any(source.kind == "stream" for source in config.data)
    if streams and machine.workers and share % machine.workers:
        raise TrainingError(
            f"machine.workers: {machine.workers} of them do not share the {share} streams of a device evenly",
            path=path,
            remedy="make the tiles for each device, batch / devices, a multiple of it",
        )


def on_machine(
    config: TrainingConfig, stage: Stage, *, devices: int | None = None, nodes: int | None = None
) -> TrainingConfig:
    """The same training on so many devices and machines; None: as ``config`` says.

    Raises:
        TrainingError: they do not share a batch evenly.
    """
    changed = {name: n for name, n in (("devices", devices), ("nodes", nodes)) if n is not None}
    values = config.model_dump()
    return check_config(values | {"machine": values["machine"] | changed}, stage)


def _place(source: Source) -> str:
    """Which tiles a source has, whatever their number and weight."""
    if isinstance(source, PatchSource):
        return f"patches of seed {source.seed}"
    return str(source.folder.resolve())


def differences(old: dict[str, Any], new: RunConfig) -> list[str]:
    """``key: old value, now new value`` for what a run that goes on must not have changed.

    Args:
        old: the run's configuration as it was written down; keys that it does not have were at their default.
        new: of the same stage.
    """
    try:
        before = type(new).model_validate(old).model_dump(mode="json")
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        return [f"{key}: of another version of mesoface"]
    now = new.model_dump(mode="json")
    return [line for key in now if key not in _MAY_CHANGE for line in _compared(key, before[key], now[key])]


def _compared(key: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for name in new for line in _compared(f"{key}.{name}", old[name], new[name])]
    return [] if old == new else [f"{key}: {old!r}, now {new!r}"]
