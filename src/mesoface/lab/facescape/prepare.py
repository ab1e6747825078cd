"""From FaceScape's captures as published to the prepared folder: a job each, resumable, all reported.

Each prepared capture has a record; the files of the data set are made from the records.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

import mesoface
from mesoface.captures.formats import facescape
from mesoface.captures.lists import write_capture_list
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import atomic_file, atomic_folder, remove_leftovers
from mesoface.files.meshes import read_mesh, write_obj
from mesoface.lab.facescape.contents import (
    BaseMaps,
    base_maps,
    choose_views,
    given_views,
    prepared_photo,
    write_facial_mask,
    write_maps,
)
from mesoface.lab.facescape.layout import (
    SCALES,
    SELECTION,
    SPLITS,
    TRAIN,
    VALIDATION,
    Alignment,
    CaptureId,
    PreparedFolder,
    RawCapture,
    Scales,
    Selection,
    find_raw_captures,
    read_splits,
    split_people,
    write_scales,
    write_selection,
    write_splits,
)
from mesoface.lab.facescape.settings import PrepareSettings
from mesoface.lab.training.truth import check_truth
from mesoface.pipeline import reconstruct
from mesoface.rendering.page import render
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import incomplete, resumable_folder, run_jobs

MANIFEST = "prepare.json"
_RECIPE = 1  # to be raised when the same capture is prepared differently
_QUALITY = 95  # of the JPEG files
_MAX_RECORD = 1 << 20  # bytes
COLUMNS = (
    "capture", "expression", "split", "status", "views", "mm_per_unit", "landmark_error_px", "known", "notes",
)  # fmt: skip
"""Of ``captures.csv``."""


@dataclass(frozen=True)
class PrepareJob:
    """One capture to prepare.

    Args:
        raw: the published capture.
        folder: the prepared folder.
        split: of the capture.
        mm_per_unit: of its world.
        views: numbers of the views to use; None to choose.
        settings: of the folder.
    """

    raw: RawCapture
    folder: PreparedFolder
    split: str
    mm_per_unit: float
    views: tuple[int, ...] | None
    settings: PrepareSettings


class Record(BaseModel):
    """What was done for a capture."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: Annotated[
        CaptureId,
        BeforeValidator(lambda value: CaptureId.parse(value) if isinstance(value, str) else value),
        PlainSerializer(str),
    ]
    split: str
    views: tuple[int, ...] = Field(description="numbers of the photos that were kept")
    mm_per_unit: Annotated[float, Field(gt=0)]
    scan: bool = Field(description="whether the true surface is known")
    known: float = Field(description="share of the facial mask whose displacement is known")
    landmark_error_px: float = Field(description="median distance of the base mesh's landmarks in the photos")
    notes: tuple[str, ...] = Field(description="what was left out or adapted, one sentence each")


def prepare_capture(job: PrepareJob) -> None:
    """Write the files of one capture; its record comes last.

    Raises:
        MesofaceError: its calibration, its photos, its face or its scan cannot be used.
    """
    source = facescape.read(job.raw.folder)
    if job.views is None:
        numbers, notes = choose_views(source, job.settings.views)
    else:
        numbers, notes = given_views(source, job.views)
    by_number = {int(view.name): view for view in source.views}
    id, folder = job.raw.id, job.folder
    with atomic_folder(folder.images(id), overwrite=True) as images:
        photos, cameras = zip(
            *(prepared_photo(by_number[number], job.settings.longest_side) for number in numbers), strict=True
        )
        facescape.write_photos(
            images, photos, cameras, numbers=numbers, mm_per_unit=job.mm_per_unit, quality=_QUALITY
        )
        face = reconstruct(
            load_capture(images),
            Settings(
                until="base",
                face_model=job.settings.face_model,
                matcher="ncc",  # nothing is matched: avoids reading weights
                views=len(numbers),
                threads=1,
            ),
        )
        maps = _maps(job, face)
    _link_scan(job)
    base = face.fit.mesh
    write_obj(folder.fit_mesh(id), base.with_vertices(base.vertices / job.mm_per_unit))
    write_maps(folder, job.split, id, maps)
    record = Record(
        id=id,
        split=job.split,
        views=tuple(numbers),
        mm_per_unit=job.mm_per_unit,
        scan=job.raw.scan is not None,
        known=round(maps.known, 4),
        landmark_error_px=round(float(np.nanmedian(face.fit.residuals)), 3),
        notes=(*source.notes, *notes, *face.warnings),
    )
    with atomic_file(folder.record(id)) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _maps(job: PrepareJob, face: Face) -> BaseMaps:
    """UV maps of the base mesh, after a check that the photos show the scan."""
    scan, facial = None, face.fit.model.topology.facial
    if job.raw.scan is not None:
        scan = read_mesh(job.raw.scan)
        scan = scan.with_vertices(scan.vertices * job.mm_per_unit)
        check_truth(face.capture, scan)
        check_truth(face.capture, scan, face.landmarks3d)
    return base_maps(face.fit.mesh, facial, scan, face.capture.cameras, job.mm_per_unit)


def _link_scan(job: PrepareJob) -> None:
    """Link to the scan from beside the photos: scans are large and only read."""
    link = job.folder.scan(job.raw.id)
    link.unlink(missing_ok=True)
    if job.raw.scan is not None:
        link.symlink_to(os.path.relpath(job.raw.scan.resolve(), link.parent.resolve()))


def prepare(
    root: str | Path,
    out: str | Path,
    settings: PrepareSettings | None = None,
    *,
    scales: str | Path | None = None,
    selection: str | Path | None = None,
    splits: str | Path | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> list[Record]:
    """Prepare every capture below ``root``, or go on preparing.

    A complete capture with the same scale and split is kept. One that fails does not stop the others:
    ``captures.csv`` has the reason, and the next run tries it again.

    Args:
        root: see :func:`mesoface.lab.facescape.layout.find_raw_captures`.
        out: the prepared folder.
        settings: see :class:`PrepareSettings`.
        scales: ``Rt_scale_dict.json``; None: the one in ``root``.
        selection: ``select_dict.json``; None: the one in ``root``, else views are chosen.
        splits: ``id.json``; None: the one in ``root``, else people are drawn. Captures that it does not name
            are skipped.
        workers: processes at a time.
        progress: called after every capture.

    Returns:
        the record of each prepared capture, sorted.

    Raises:
        MesofaceError: captures or scales are missing, a file cannot be used, or ``out`` holds other files.
        IncompleteError: some captures failed; the others are prepared.
    """
    settings, root = settings or PrepareSettings(), Path(root)
    folder = PreparedFolder(Path(out))
    captures = find_raw_captures(root)
    scale_table = Scales(scales or root / SCALES)
    files = {SELECTION: selection, SPLITS: splits}  # the given ones, else those in `root`
    found = {name: Path(given or root / name) for name, given in files.items()}
    found = {name: file for name, file in found.items() if files[name] or file.is_file()}
    view_table = Selection(found[SELECTION]) if SELECTION in found else None
    given_splits = read_splits(found[SPLITS]) if SPLITS in found else None
    model = load_face_model(settings.face_model)  # a wrong name fails before any work
    recipe = {
        "format": "mesoface prepared FaceScape",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        **settings.model_dump(),
        **{name: sha256(found[name].read_bytes()).hexdigest() if name in found else None for name in files},
    }
    with resumable_folder(folder.root, MANIFEST, recipe):
        for below in [path for path in folder.root.rglob("*") if path.is_dir() and not path.is_symlink()]:
            if below.exists():  # its parent may have been removed
                remove_leftovers(below)
        records = read_records(folder)
        split_of = _splits(captures, records, given_splits, settings)
        failed: dict[CaptureId, str] = {}
        jobs, alignments = list[PrepareJob](), dict[CaptureId, Alignment]()
        for id, split in split_of.items():
            try:
                alignments[id] = scale_table.of(id)
                views = None if view_table is None else view_table.of(id)
            except MesofaceError as error:
                failed[id] = str(error)
                continue
            before = records.get(id)
            if before is None or before.mm_per_unit != alignments[id].mm_per_unit or before.split != split:
                scale = alignments[id].mm_per_unit
                jobs.append(PrepareJob(captures[id], folder, split, scale, views, settings))
        write_facial_mask(folder.facial_mask, model)
        done, total = len(split_of) - len(failed) - len(jobs), len(split_of) - len(failed)
        progress("Captures", done, total)
        try:
            outcomes = run_jobs(prepare_capture, jobs, workers=workers, preload=[__name__])
            for number, outcome in enumerate(outcomes, done + 1):
                if outcome.error is not None:
                    failed[outcome.job.raw.id] = outcome.error
                progress("Captures", number, total)
        finally:
            records = read_records(folder)
            records = {id: records[id] for id in split_of if id in records and id not in failed}
            write_summary(folder, records, failed, alignments)
    if failed:
        reasons = [f"{id}: {reason}" for id, reason in failed.items()]
        raise incomplete(reasons, len(split_of), "captures", path=folder.table)
    return list(records.values())


def _splits(
    captures: Mapping[CaptureId, RawCapture],
    records: Mapping[CaptureId, Record],
    given: Mapping[str, list[CaptureId]] | None,
    settings: PrepareSettings,
) -> dict[CaptureId, str]:
    """The split of every capture to prepare."""
    if given is not None:
        named = {id: split for split, ids in given.items() for id in ids}
        if not any(id in captures for id in named):
            raise MesofaceError(
                f"{SPLITS} names none of these captures", remedy="give the file of these people"
            )
        return {id: named[id] for id in captures if id in named}
    by_person = split_people(
        {id.person for id in captures},
        validation_share=settings.validation_share,
        eval_share=settings.eval_share,
        seed=settings.seed,
        known={id.person: record.split for id, record in records.items()},
    )
    return {id: by_person[id.person] for id in captures}


def read_records(folder: PreparedFolder) -> dict[CaptureId, Record]:
    """The records of all complete captures, sorted.

    Raises:
        MesofaceError: a record cannot be read.
    """
    files = sorted((folder.root / "captures").glob("*.json"))
    return {record.id: record for record in map(_read_record, files)}


def _read_record(file: Path) -> Record:
    try:
        if file.stat().st_size > _MAX_RECORD:
            raise ValueError(f"larger than {_MAX_RECORD >> 20} MB")
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
    page = render(
        Path(__file__).parent / "templates" / "prepared.html",
        title=f"FaceScape prepared: {folder.root.resolve().name}",
        facts=[
            (len(records), "captures prepared"),
            *((n, split) for split, n in sorted(Counter(r.split for r in records.values()).items())),
            (sum(not record.scan for record in records.values()), "without a scan"),
            (len(failed), "failed"),
        ],
        failed=[(f"{id.key} {id.expression_name}", reason) for id, reason in sorted(failed.items())],
        columns=[name.replace("_", " ") for name in COLUMNS[:-1]],
        rows=[row[:-1] for row in rows],
        adapted=[(id.key, "; ".join(record.notes)) for id, record in records.items() if record.notes],
    )
    with atomic_file(folder.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _rows(records: Mapping[CaptureId, Record], failed: Mapping[CaptureId, str]) -> list[tuple[str, ...]]:
    """The cells of ``COLUMNS`` of every capture."""
    cells = {id: ("", "failed", "", "", "", "", reason) for id, reason in failed.items()}
    for id, record in records.items():
        cells[id] = (
            record.split,
            "prepared" if record.scan else "no scan",
            str(len(record.views)),
            f"{record.mm_per_unit:.6g}",
            f"{record.landmark_error_px:.2f}",
            f"{record.known:.3f}",
            "; ".join(record.notes),
        )
    return [(id.key, id.expression_name, *cells[id]) for id in sorted(cells)]
