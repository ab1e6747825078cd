"""What is written of a sequence for people and programs: ``frame.json`` in each frame, ``sequence.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

import mesoface
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.sequence.person import Person

FRAME, SEQUENCE = "frame.json", "sequence.json"
FORMAT = 1
"""Version of the files' layout."""


class FrameRecord(BaseModel):
    """How a frame came about.

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


def write_frame_record(folder: Path, record: FrameRecord) -> None:
    """Write ``frame.json``.

    Raises:
        MesofaceError: it cannot be written.
    """
    with atomic_file(folder / FRAME) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_frame_record(folder: Path) -> FrameRecord:
    """Read what :func:`write_frame_record` wrote.

    Raises:
        MesofaceError: it is missing or damaged.
    """
    path = folder / FRAME
    try:
        return FrameRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MesofaceError(
            "cannot be read as a frame's record",
            path=path,
            remedy="remove the frame's folder and run the same command again",
        ) from error


def write_sequence(out: Path, person: Person, records: Sequence[FrameRecord], total: int) -> None:
    """Write ``sequence.json``.

    Args:
        out: the sequence's folder.
        person: who is in it.
        records: of the frames that are done, in their order.
        total: how many frames there are.

    Raises:
        MesofaceError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "frames": total,
        "views": list(person.views),
        "mm_per_unit": person.scale.mm_per_unit,
        "identity": {"frames": list(person.frames), "coefficients": person.identity.tolist()},
        "afresh": [record.frame for record in records if record.follows is None],
        "done": [record.model_dump() for record in records],
    }
    with atomic_file(out / SEQUENCE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
