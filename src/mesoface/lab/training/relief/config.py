"""The configuration of ``mesoface train meso``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mesoface.lab.training.config import (
    OptimizerSettings,
    RunConfig,
    Section,
    TrainingError,
    read_values,
    validated,
)

_DEEPEST_HALVING = 16  # the paper's generator halves its maps four times


class SkinSource(Section):
    """Squares of drawn skin, made when they are first asked for and kept on disk."""

    kind: Literal["skin"]
    squares: int = Field(4000, ge=1, le=1_000_000, description="how many; at 128 x 128 one has 0.5 MB")
    seed: int = Field(0, ge=0, description="another seed, other squares")
    texel_mm: float = Field(0.2, gt=0, le=5, description="size of a texel, mm; it matters to `paper` alone")


class PairSource(Section):
    """Squares cut from textures whose displacement map is known, such as FaceScape's; kept on disk."""

    kind: Literal["pairs"]
    folder: Path = Field(description="folder with textures, displacement maps and, where there are, meshes")
    squares: int = Field(2000, ge=1, le=1_000_000, description="how many, over all pairs")
    seed: int = Field(0, ge=0, description="another seed, other places")
    texel_mm: float = Field(0.2, gt=0, le=5, description="size of a square's texel, mm")
    map_texel_mm: float | None = Field(
        None, gt=0, le=5, description="size of a displacement map's texel, mm, for pairs without a mesh"
    )


Source = Annotated[SkinSource | PairSource, Field(discriminator="kind")]


class Validation(Section):
    """What the network is measured on while it trains; never trained on."""

    sources: tuple[Source, ...] = Field(min_length=1)
    every: int = Field(250, ge=1, description="optimiser steps between two validations")


class LossWeights(Section):
    """Weights of the parts of the loss."""

    slope: float = Field(1.0, ge=0, description="error of the relief's slopes, relative to those missing")
    height: float = Field(0.0, ge=0, description="L1 of the heights, relative to those missing")


class Machine(Section):
    """Where and how fast; changes no result beyond rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(1, ge=1, le=64, description="processes that make squares")
    threads: int | None = Field(
        None, ge=1, le=256, description="torch's CPU threads; left out: its own choice"
    )


class MesoConfig(RunConfig):
    """Which network is trained, on what squares, for how long."""

    network: Literal["light", "paper"] = "light"
    width: int = Field(64, ge=4, le=256, description="channels of the paper's first layer")
    batch: int = Field(12, ge=1, le=1024, description="squares for one optimiser step")
    size: int = Field(
        128, ge=32, le=1024, multiple_of=_DEEPEST_HALVING, description="side of a square, texels"
    )
    cache: Path = Field(Path("runs/squares"), description="folder that squares are kept in")
    data: tuple[Source, ...] = Field(min_length=1)
    validation: Validation
    optimizer: OptimizerSettings = OptimizerSettings(rate=2e-3)
    loss: LossWeights = LossWeights()
    machine: Machine = Machine()


def read_meso_config(path: str | Path) -> MesoConfig:
    """Read and check a configuration, ``.toml`` or ``.json``.

    Raises:
        TrainingError: the file cannot be read, a key is unknown, missing or out of range, or what is trained
            on would be validated on.
    """
    return check_meso_config(read_values(path), path)


def check_meso_config(values: Any, path: str | Path | None = None) -> MesoConfig:
    """A configuration from plain values; ``path`` is for messages.

    Raises:
        TrainingError: see :func:`read_meso_config`.
    """
    config = validated(MesoConfig, values, path)
    both = {_place(source) for source in config.data} & {_place(s) for s in config.validation.sources}
    if both:
        raise TrainingError(
            f"validation.sources: {', '.join(sorted(both))} is trained on as well",
            path=path,
            remedy="validate on skin of another seed, or on a folder with other people's pairs",
        )
    if config.loss.slope == config.loss.height == 0:
        raise TrainingError("loss: all of its weights are 0", path=path, remedy="set loss.slope = 1")
    return config


def _place(source: Source) -> str:
    """Which squares a source has, whatever their number."""
    return f"skin of seed {source.seed}" if isinstance(source, SkinSource) else str(source.folder.resolve())
