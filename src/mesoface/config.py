"""Settings of a reconstruction, checked before any work is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from mesoface.errors import MesofaceError

Preset = Literal["fast", "default", "best", "paper"]
Matcher = Literal["learned", "ncc"]
Until = Literal["base", "fine"]
Holes = Literal["fill", "keep"]
Meso = Literal["learned", "shading", "off"]
Device = Literal["auto", "cpu", "cuda"]
Model = TypeVar("Model", bound=BaseModel)

MIN_VIEWS, MAX_VIEWS = 2, 120
"""Fewest and most views that may be asked for."""

MIN_TEXTURE, MAX_TEXTURE = 64, 8192
"""Smallest and largest side of a texture, texels."""


INPUT, METHOD, RESULT = "Input", "Method", "Result"
"""Groups of settings in the help."""

COMPUTING = {"device", "threads", "memory_mb"}
"""Settings that decide where and how fast a result is computed, not what it is."""


def option(
    default: Any,
    help: str,
    *,
    panel: str,
    metavar: str | None = None,
    name: str | None = None,
    **limits: Any,
) -> Any:
    """A field of a model that is an option of the command line too: one description, one default.

    Args:
        default: of both.
        help: one or two sentences for people.
        panel: group of the option in the help.
        metavar: what stands for the value in the help; None: the choices of a Literal, or the type.
        name: of the option; None: the field's, with hyphens.
        limits: pydantic's ``ge``, ``gt``, ``le``, ``allow_inf_nan``.
    """
    extra: dict[str, Any] = {"panel": panel, "metavar": metavar, "name": name}
    return Field(default, description=help, json_schema_extra=extra, **limits)


class Settings(BaseModel, extra="forbid", frozen=True, protected_namespaces=()):
    """What a reconstruction is made with. The options of ``mesoface reconstruct`` are made from these fields.

    Unknown names and values out of range are refused.
    """

    views: int | Literal["auto"] = option(
        "auto",
        "Use this many views, 2 to 120: spread around the face, sharp, with all of it in them. auto: all, "
        "and of more than 10 up to 24, while another lowers the expected error enough for its time.",
        panel=INPUT,
        metavar="auto|N",
    )
    view_ids: tuple[str, ...] | None = option(
        None,
        "Use exactly these views instead, separated by commas, e.g. 0,3,4,7. `mesoface inspect` lists the "
        "names.",
        panel=INPUT,
        metavar="NAMES",
    )
    scale: float | None = option(
        None,
        "Millimetres per unit of the calibration's world: 1 for a calibration in mm, 1000 for one in metres. "
        "Left out: from the format where it states the unit, else from the size of the eyes (± 5 %).",
        panel=INPUT,
        metavar="MM_PER_UNIT",
        gt=0,
        allow_inf_nan=False,
    )
    preset: Preset = option(
        "default",
        "How fine, and how long: measured on a grid of up to 512², 768² or 1024² points, and photos of more "
        "than 2048 pixels on up to 1536² (default) or 2048² (best). paper: the "
        "published networks and their volume; takes minutes and needs --weights.",
        panel=METHOD,
    )
    weights: Path | None = option(
        None,
        "Weights of the learned matcher, a .safetensors file, instead of those that come with mesoface. For "
        "--preset paper: the folder that `mesoface weights import` wrote.",
        panel=METHOD,
        metavar="FILE|DIR",
    )
    memory_mb: int = option(
        1024,
        "Memory for what the learned matcher computes at a time; the photos' features come on top.",
        panel=METHOD,
        metavar="MB",
        name="memory",
        ge=16,
        le=1 << 20,
    )
    face_model: str = option(
        "generic",
        "Face model of the base mesh: generic is built in; ict, or the path of an ICT, FaceScape or FLAME "
        "model, is a file of yours.",
        panel=METHOD,
        metavar="generic|ict|PATH",
    )
    matcher: Matcher = option(
        "learned",
        "How photos are compared before the refinement over all of them. learned: by correlation, and at the "
        "finest level by a network. ncc: by correlation alone, up to 512² if there are more than six photos, "
        "in half the memory. --preset paper has its own.",
        panel=METHOD,
    )
    device: Device = option("auto", "Where matching runs; auto takes a GPU if there is one.", panel=METHOD)
    threads: int = option(
        min(8, os.cpu_count() or 2),
        "Threads for matching and texture on the CPU.",
        panel=METHOD,
        metavar="N",
        ge=1,
        le=64,
    )
    meso_weights: Path | None = option(
        None,
        "Weights of the network for --meso learned, as `mesoface train meso` writes them, instead of those "
        "that come with mesoface.",
        panel=METHOD,
        metavar="FILE",
    )
    until: Until = option(
        "fine",
        "base: stop at the face model fitted to the landmarks. fine: measure the surface.",
        panel=RESULT,
    )
    holes: Holes = option(
        "fill",
        "What is done where nothing was measured. fill: eyes and lips are measured too, and the face model, "
        "bent onto what was measured, closes the rest. keep: eyes, mouth and large holes stay open.",
        panel=RESULT,
    )
    texture_size: int = option(
        2048,
        "Side of the texture in texels, 64 to 8192; 0 for none. At 2048 a texel is some 0.1 mm.",
        panel=RESULT,
        metavar="N",
        ge=0,
    )
    meso: Meso = option(
        "learned",
        "Relief finer than what photos measure (pores, fine lines), predicted from the texture and kept "
        "apart from what was measured. learned: by a network. shading: dark is deep. off: measured relief "
        "only.",
        panel=RESULT,
    )

    @field_validator("views", mode="before")
    @classmethod
    def _check_views(cls, views: object) -> object:
        """A number may come as a word from the command line."""
        if views == "auto":
            return views
        count = int(str(views)) if str(views).isdecimal() else 0
        if not MIN_VIEWS <= count <= MAX_VIEWS:
            raise ValueError(f"must be auto, or a number from {MIN_VIEWS} to {MAX_VIEWS}")
        return count

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
        if self.device == "cpu":
            return self.device
        import torch  # here, because it takes seconds and nothing else in the settings needs it

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cuda" and not torch.cuda.is_available():
            raise MesofaceError("no CUDA device is available", remedy="use --device cpu, or auto")
        return self.device


def make(model: type[Model], **values: object) -> Model:
    """A model from keyword arguments.

    Raises:
        MesofaceError: a name is unknown or a value out of range; the message names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise MesofaceError(
            f"setting {name!r}: {problem['msg']}, got {problem.get('input')!r}",
            remedy="see --help of the command",
        ) from None
