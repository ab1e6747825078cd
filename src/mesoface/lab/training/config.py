"""The configuration of a training, read from TOML or JSON and checked before any work is done."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mesoface.errors import MesofaceError

Stage = Literal["matching", "regularizer", "meso"]

_LARGEST_FILE = 1 << 20
_KINDS = ("tiles", "patches", "stream", "skin", "pairs")  # of sources, of whatever training
_DEEPEST_HALVING = 16  # the paper's generator halves its maps four times


class TrainingError(MesofaceError):
    """A training cannot start or be resumed."""


class Section(BaseModel):
    """A part of a configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FolderSource(Section):
    """Samples in a folder of the user's."""

    folder: Path

    @property
    def place(self) -> str:
        """Which samples it has, whatever their number and weight."""
        return str(self.folder.resolve())


class SeededSource(Section):
    """Samples that are generated when they are first needed, and kept on disk."""

    kind: str
    seed: int = Field(0, ge=0, description="another seed gives other samples")

    @property
    def place(self) -> str:
        """Which samples it has, whatever their number and weight."""
        return f"{self.kind} of seed {self.seed}"


class TileSource(FolderSource):
    """Tiles that were made before: a folder of shards, as ``mesoface train tiles`` writes them."""

    kind: Literal["tiles"]
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


class PatchSource(SeededSource):
    """Skin patches for matching."""

    kind: Literal["patches"]
    pool: int = Field(2000, ge=1, description="how many different patches there are")
    size: int = Field(64, ge=16, le=256, description="side of a patch, texels")
    phone: bool = Field(False, description="photos from life, as a phone takes them")
    cache: Path = Field(Path("runs/patches"), description="folder that pools are kept in")
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


class StreamSource(FolderSource):
    """Tiles that ``mesoface train pack`` packed, read one after the other: for data beyond the memory."""

    kind: Literal["stream"]
    buffer: int = Field(
        512, ge=1, le=1 << 20, description="tiles in memory, over all devices, among which the next is drawn"
    )
    weight: float = Field(1.0, gt=0, description="how often it is drawn from, relative to the other sources")


class SkinSource(SeededSource):
    """Squares of drawn skin, for relief."""

    kind: Literal["skin"]
    squares: int = Field(4000, ge=1, le=1_000_000, description="how many; at 128 x 128 one has 0.5 MB")
    texel_mm: float = Field(0.2, gt=0, le=5, description="size of a texel, mm; it matters to `paper` alone")
    phone: bool = Field(False, description="a texture of photos from life, as a phone takes them")


class PairSource(FolderSource):
    """Squares cut from textures whose displacement map is known, such as FaceScape's; kept on disk."""

    kind: Literal["pairs"]
    squares: int = Field(2000, ge=1, le=1_000_000, description="how many, over all pairs")
    seed: int = Field(0, ge=0, description="another seed, other places")
    texel_mm: float = Field(0.2, gt=0, le=5, description="size of a square's texel, mm")
    map_texel_mm: float | None = Field(
        None, gt=0, le=5, description="size of a displacement map's texel, mm, for pairs without a mesh"
    )


AnyTileSource = Annotated[TileSource | PatchSource | StreamSource, Field(discriminator="kind")]
AnySquareSource = Annotated[SkinSource | PairSource, Field(discriminator="kind")]


class Validation(Section):
    """What the network is measured on while it trains; never trained on."""

    sources: tuple[Any, ...] = Field(min_length=1)
    every: int = Field(250, ge=1, description="optimiser steps between two validations")


class TileValidation(Validation):
    """Tiles to measure a matching network on."""

    sources: tuple[AnyTileSource, ...] = Field(min_length=1)
    tiles: int = Field(48, ge=1, description="how many tiles at most, spread evenly over the sources")


class SquareValidation(Validation):
    """Squares to measure a relief network on."""

    sources: tuple[AnySquareSource, ...] = Field(min_length=1)


class OptimizerSettings(Section):
    """AdamW, and how its learning rate goes: a linear warm-up, then half a cosine down, or level."""

    rate: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup: int = Field(100, ge=0, description="steps until it is reached")
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: float = Field(0.01, ge=0, le=1, description="share of the rate at the last step (cosine)")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient; longer ones are shortened")


class MatchingLoss(Section):
    """Weights of the parts of the loss of our matching network."""

    sigma: float = Field(0.6, gt=0, description="of the Gaussian around the truth, steps")
    cost: float = Field(0.1, ge=0, description="cross-entropy of the implicit function's own cost")
    distribution: float = Field(0.3, ge=0, description="cross-entropy after the regulariser")
    displacement: float = Field(2.0, ge=0, description="log error, relative to the classical matcher's")
    slope: float = Field(1.0, ge=0, description="L1 of the slopes, relative to the classical matcher's")
    confidence: float = Field(0.2, ge=0, description="cross-entropy of: within a step of the truth")


class ReliefLoss(Section):
    """Weights of the parts of the loss of a relief network."""

    slope: float = Field(1.0, ge=0, description="error of the relief's slopes, relative to those missing")
    height: float = Field(0.0, ge=0, description="L1 of the heights, relative to those missing")


class Machine(Section):
    """Where and how fast; changes no result beyond rounding, so that a run may move to another machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(1, ge=1, le=64, description="how many GPUs, or processes on the CPU, a machine")
    nodes: int = Field(1, ge=1, le=1024, description="how many machines")
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: int = Field(0, ge=0, le=64, description="processes that prepare samples, for each device")
    threads: int | None = Field(
        None, ge=1, le=256, description="torch's CPU threads; left out: its own choice"
    )


class ReliefMachine(Machine):
    """The same, with processes that make squares before the training: at least one."""

    workers: int = Field(1, ge=1, le=64, description="processes that make squares")


class RunConfig(Section):
    """What every training has."""

    stage: ClassVar[Stage]
    samples: ClassVar[str] = "tiles"
    """What samples are called in messages."""
    unseen: ClassVar[str] = "validate on other tiles, or on patches of another seed"
    """What to do where samples to validate on are trained on."""

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
    data: tuple[Any, ...] = Field(min_length=1)
    validation: Validation
    machine: Machine = Machine()

    def problem(self) -> tuple[str, str] | None:
        """What is wrong with values that are each in range, and the remedy."""
        both = {source.place for source in self.data} & {s.place for s in self.validation.sources}
        if both:
            return f"validation.sources: {', '.join(sorted(both))} is trained on as well", self.unseen
        devices = self.machine.devices * self.machine.nodes
        if self.batch % devices:
            shares = f"{self.samples} are not shared evenly by {devices} machine.devices"
            return f"batch: {self.batch} {shares}", "make batch a multiple of it"
        return None


class MatchingConfig(RunConfig):
    """The first stage of a matching network: the matching cost."""

    stage: ClassVar[Stage] = "matching"

    network: Literal["ours", "paper"] = "ours"
    augment: bool = Field(True, description="disturb tiles before training sees them")
    data: tuple[AnyTileSource, ...] = Field(min_length=1)
    validation: TileValidation
    loss: MatchingLoss = MatchingLoss()

    def problem(self) -> tuple[str, str] | None:
        """See :meth:`RunConfig.problem`; also that streams are shared evenly by their loaders."""
        machine = self.machine
        share = self.batch // (machine.devices * machine.nodes)
        streams = any(source.kind == "stream" for source in self.data)
        if (found := super().problem()) or not (streams and machine.workers and share % machine.workers):
            return found
        what = f"{machine.workers} of them do not share the {share} streams of a device evenly"
        remedy = "make the tiles for each device, batch / devices, a multiple of it"
        return f"machine.workers: {what}", remedy


class RegularizerConfig(MatchingConfig):
    """The second stage starts from the first one's weights."""

    stage: ClassVar[Stage] = "regularizer"

    matching: Path | None = Field(None, description="weights.safetensors of the matching stage")
    freeze_matching: bool = Field(False, description="train the regulariser alone")

    def problem(self) -> tuple[str, str] | None:
        """See :meth:`MatchingConfig.problem`; also that there is something to freeze."""
        if self.freeze_matching and not self.matching:
            return "freeze_matching: there are no weights to freeze", "name the weights as `matching`"
        return super().problem()


class ReliefConfig(RunConfig):
    """A network that predicts mesoscopic relief from texture: ``mesoface train meso``."""

    stage: ClassVar[Stage] = "meso"
    samples: ClassVar[str] = "squares"
    unseen: ClassVar[str] = "validate on skin of another seed, or on a folder with other people's pairs"

    network: Literal["light", "paper"] = "light"
    width: int = Field(64, ge=4, le=256, description="channels of the paper's first layer")
    batch: int = Field(12, ge=1, le=1024, description="squares for one optimiser step, over all devices")
    size: int = Field(
        128, ge=32, le=1024, multiple_of=_DEEPEST_HALVING, description="side of a square, texels"
    )
    cache: Path = Field(Path("runs/squares"), description="folder that squares are kept in")
    data: tuple[AnySquareSource, ...] = Field(min_length=1)
    validation: SquareValidation
    optimizer: OptimizerSettings = OptimizerSettings(rate=2e-3)
    loss: ReliefLoss = ReliefLoss()
    machine: ReliefMachine = ReliefMachine()

    def problem(self) -> tuple[str, str] | None:
        """See :meth:`RunConfig.problem`; also that something is minimised."""
        if self.loss.slope == self.loss.height == 0:
            return "loss: all of its weights are 0", "set loss.slope = 1"
        return super().problem()


CONFIGS: dict[Stage, type[RunConfig]] = {
    config.stage: config for config in (MatchingConfig, RegularizerConfig, ReliefConfig)
}
"""The configuration of each stage."""

Config = TypeVar("Config", bound=RunConfig)

# Keys that may differ when a run is resumed: they change no sample, and no gradient beyond rounding.
# `steps` changes the rest of the schedule, `average` what is written, `validation` what is measured.
_MAY_CHANGE = {"steps", "average", "checkpoint_every", "log_every", "tensorboard", "validation", "machine"}


def read_config(path: str | Path, model: type[Config]) -> Config:
    """Read and check a configuration.

    Args:
        path: ``.toml`` or ``.json``. Relative paths in it are relative to the working directory.
        model: of the stage that it is for.

    Raises:
        TrainingError: the file cannot be read, or a key is unknown, missing or out of range.
    """
    path = Path(path)
    kind, parse = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TrainingError("is too large for a configuration", path=path)
        values = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else f"is not {kind}: {error}"
        raise TrainingError(why, path=path, remedy="see configs/ for examples") from None
    return check_config(values, model, path)


def check_config(values: Any, model: type[Config], path: str | Path | None = None) -> Config:
    """A configuration from plain values; ``path`` is for messages.

    Raises:
        TrainingError: see :func:`read_config`.
    """
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        # a source's place is (data, 0, tiles, folder): its kind is no key
        key = ".".join(str(part) for part in wrong["loc"] if part not in _KINDS)
        got = "" if isinstance(wrong["input"], dict) else f", got {wrong['input']!r}"
        reason = wrong["msg"][0].lower() + wrong["msg"][1:]
        raise TrainingError(
            f"{key or 'the configuration'}: {reason}{got}",
            path=path,
            remedy="docs/training.md lists the keys",
        ) from None
    if problem := config.problem():
        raise TrainingError(problem[0], path=path, remedy=problem[1])
    return config


def on_machine(config: Config, *, devices: int | None = None, nodes: int | None = None) -> Config:
    """The same training on other numbers of devices and machines; None: as in ``config``.

    Raises:
        TrainingError: they do not share a batch evenly.
    """
    changed = {name: n for name, n in (("devices", devices), ("nodes", nodes)) if n is not None}
    values = config.model_dump()
    return check_config(values | {"machine": values["machine"] | changed}, type(config))


def differences(old: dict[str, Any], new: RunConfig) -> list[str]:
    """``key: old value, now new value`` for each key that must not differ when a run is resumed.

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
