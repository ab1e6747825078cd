"""The JSON files of a sequence: how they are written and read, and ``frame.json`` of each frame."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file

FRAME = "frame.json"
Model = TypeVar("Model", bound=BaseModel)


class FrameRecord(BaseModel):
    """How a frame was measured: ``frame.json``.

    Args:
        frame: its name.
        follows: the frame that it was followed from, or None where it was measured afresh.
        reason: why it was measured afresh, or None.
        agreement: correlation of its skin with the anchor frame's, or None where it was measured afresh.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: str
    follows: str | None
    reason: str | None
    agreement: FiniteFloat | None


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as JSON.

    Raises:
        MesofaceError: the file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_model(path: Path, model: type[Model], what: str, *, remedy: str) -> Model:
    """Read what :func:`write_model` wrote.

    Args:
        path: the file.
        model: its kind.
        what: what it holds, with an article, for people.
        remedy: what to do about a file that is missing or damaged.

    Raises:
        MesofaceError: it is missing or damaged.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MesofaceError(f"cannot be read as {what}", path=path, remedy=remedy) from error
