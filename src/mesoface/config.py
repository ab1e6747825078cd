"""Settings of a reconstruction, checked before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mesoface.errors import MesofaceError

Preset = Literal["fast", "default", "best", "paper"]
Matcher = Literal["learned", "ncc"]
Until = Literal["base", "fine"]
Meso = Literal["learned", "shading", "off"]
Device = Literal["auto", "cpu", "cuda"]

MIN_TEXTURE, MAX_TEXTURE = 64, 8192
"""Smallest and largest side of a texture, texels."""


class Settings(BaseModel):
    """What ``mesoface reconstruct`` can be told.

    Unknown names and values out of range are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    face_model: str = Field("generic", description="`generic`, `ict`, or the path of a face model")
    matcher: Matcher = Field(
        "learned",
        description="how photos are compared; learned = correlation and a network, ncc = correlation alone",
    )
    preset: Preset = Field(
        "default",
        description="fast, default or best: how fine and how long; paper: the published networks and volume",
    )
    weights: Path | None = Field(
        None,
        description="the learned matcher's weights, a file; None: those that come with mesoface. For paper, "
        "the folder that `mesoface weights import` wrote",
    )
    memory_mb: int = Field(
        1024, ge=16, le=1 << 20, description="memory for what learned matchers compute at a time, MB"
    )
    views: int = Field(10, ge=2, le=120, description="use the best so many views")
    view_ids: tuple[str, ...] | None = Field(None, description="use exactly these views")
    until: Until = Field("fine", description="stop after the base mesh, or go on to the fine mesh")
    texture_size: int = Field(2048, ge=0, description="side of the texture, texels; 0: no texture")
    meso: Meso = Field(
        "learned",
        description="relief finer than what is measured: predicted by a network, by dark is deep, or none; "
        "needs a texture",
    )
    meso_weights: Path | None = Field(
        None,
        description="weights of the network that predicts relief; None: those that come with mesoface. For "
        "paper they are in `weights`",
    )
    scale: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="millimetres per world unit; None to find out"
    )
    device: Device = Field("auto", description="where matching runs")
    threads: int = Field(2, ge=1, le=64, description="threads for matching and texture")

    @field_validator("texture_size")
    @classmethod
    def _check_texture_size(cls, size: int) -> int:
        if size and not MIN_TEXTURE <= size <= MAX_TEXTURE:
            raise ValueError(f"must be from {MIN_TEXTURE} to {MAX_TEXTURE}, or 0 for no texture")
        return size

    def torch_device(self) -> str:
        """The torch device that ``device`` stands for.

        Raises:
            MesofaceError: ``cuda`` was asked for and there is none.
        """
        import torch  # here, because it takes seconds and nothing else in the settings needs it

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and not torch.cuda.is_available():
            raise MesofaceError("no CUDA device is available", remedy="use --device cpu, or auto")
        return self.device


def make_settings(**values: object) -> Settings:
    """Settings from keyword arguments.

    Raises:
        MesofaceError: a name is unknown or a value out of range; the message names it.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise MesofaceError(
            f"setting {name!r}: {problem['msg']}, got {problem.get('input')!r}",
            remedy="see `mesoface reconstruct --help`",
        ) from None
