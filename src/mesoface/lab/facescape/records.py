"""The record of each prepared capture, and the files of the data set made from the records."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from mesoface.captures.lists import write_capture_list
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.lab.facescape.layout import CaptureId, PreparedFolder
from mesoface.lab.facescape.metadata import (
    TRAIN,
    VALIDATION,
    Alignment,
    write_scales,
    write_selection,
    write_splits,
)
from mesoface.rendering.page import render

COLUMNS = (
    "capture", "expression", "split", "status", "views", "mm_per_unit", "landmark_error_px", "known", "notes",
)  # fmt: skip
"""Of ``captures.csv``."""
_MAX_BYTES = 1 << 20


class Record(BaseModel):
    """What was done for a capture."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    id: CaptureId
    split: str
    views: tuple[int, ...] = Field(description="numbers of the photos that were kept")
    mm_per_unit: Annotated[float, Field(gt=0)]
    scan: bool = Field(description="whether the true surface is known")
    known: float = Field(description="share of the facial mask whose displacement is known")
    landmark_error_px: float = Field(description="median distance of the base mesh's landmarks in the photos")
    notes: tuple[str, ...] = Field(description="what was left out or adapted, one sentence each")

    @field_validator("id", mode="before")
    @classmethod
    def _parse_id(cls, value: Any) -> Any:
        return CaptureId.parse(value) if isinstance(value, str) else value

    @field_serializer("id")
    def _write_id(self, id: CaptureId) -> str:
        return id.key


def write_record(folder: PreparedFolder, record: Record) -> None:
    """Write a capture's record: it is complete now."""
    with atomic_file(folder.record(record.id)) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_records(folder: PreparedFolder) -> dict[CaptureId, Record]:
    """The records of all complete captures, sorted.

    Raises:
        MesofaceError: a record cannot be read.
    """
    files = sorted((folder.root / "captures").glob("*.json"))
    return {record.id: record for record in map(_read_record, files)}


def _read_record(file: Path) -> Record:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 20} MB")
        return Record.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise MesofaceError(
            f"is no record of a prepared capture ({what})",
            path=file,
            remedy="remove it; the capture will be prepared again",
        ) from error


def write_summary(
    folder: PreparedFolder,
    records: Mapping[CaptureId, Record],
    failed: Mapping[CaptureId, str],
    alignments: Mapping[CaptureId, Alignment],
) -> None:
    """Write the metadata, the lists, the table and the report of a prepared folder.

    Captures without a scan are in no split that is trained or validated on: nothing is learned from them.

    Args:
        folder: the prepared folder.
        records: the captures that are complete.
        failed: why the others are not.
        alignments: of the captures that are complete, at least.
    """
    splits: dict[str, list[CaptureId]] = {}
    for id, record in records.items():
        members = splits.setdefault(record.split, [])
        if record.scan or record.split not in (TRAIN, VALIDATION):
            members.append(id)
    write_splits(folder.splits, splits)
    write_selection(folder.selection, {id: record.views for id, record in records.items()})
    write_scales(folder.scales, {id: alignments[id] for id in records})
    for split, ids in splits.items():
        captures = [folder.images(id) for id in ids]
        write_capture_list(
            folder.list_of(split), captures, comment=f"FaceScape, {split}: {len(ids)} captures"
        )
    rows = _rows(records, failed)
    with atomic_file(folder.table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    with atomic_file(folder.report) as temporary:
        temporary.write_text(_page(folder, records, failed, rows), encoding="utf-8")


def _rows(records: Mapping[CaptureId, Record], failed: Mapping[CaptureId, str]) -> list[tuple[str, ...]]:
    """The cells of ``COLUMNS`` of every capture."""
    rows = list[tuple[str, ...]]()
    for id in sorted({*records, *failed}):
        head = (id.key, id.expression_name)
        if id in failed:
            rows.append((*head, "", "failed", "", "", "", "", failed[id]))
            continue
        record = records[id]
        figures = (f"{record.mm_per_unit:.6g}", f"{record.landmark_error_px:.2f}", f"{record.known:.3f}")
        status = "prepared" if record.scan else "no scan"
        rows.append((*head, record.split, status, str(len(record.views)), *figures, "; ".join(record.notes)))
    return rows


def _page(
    folder: PreparedFolder,
    records: Mapping[CaptureId, Record],
    failed: Mapping[CaptureId, str],
    rows: list[tuple[str, ...]],
) -> str:
    title = f"FaceScape prepared: {folder.root.resolve().name}"
    by_split = {split: sum(r.split == split for r in records.values()) for split in _split_names(records)}
    figures = [
        (str(len(records)), "captures prepared"),
        *((str(count), split) for split, count in by_split.items()),
        (str(sum(not record.scan for record in records.values())), "without a scan"),
        (str(len(failed)), "failed"),
    ]
    reasons = [(f"{id.key} {id.expression_name}", reason) for id, reason in sorted(failed.items())]
    left_out = [(id.key, "; ".join(record.notes)) for id, record in records.items() if record.notes]
    return render(
        Path(__file__).parent / "templates" / "prepared.html",
        title=title,
        facts=figures,
        failed=reasons,
        columns=[name.replace("_", " ") for name in COLUMNS[:-1]],
        rows=[row[:-1] for row in rows],
        adapted=left_out,
    )


def _split_names(records: Mapping[CaptureId, Record]) -> list[str]:
    return sorted({record.split for record in records.values()})
