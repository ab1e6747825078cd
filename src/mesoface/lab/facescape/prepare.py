"""From FaceScape's captures as published to the prepared folder: a job each, resumable, all reported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

import mesoface
from mesoface.captures.formats import facescape
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import atomic_folder, remove_leftovers
from mesoface.files.meshes import read_mesh, write_obj
from mesoface.lab.facescape.layout import (
    SCALES,
    SELECTION,
    SPLITS,
    CaptureId,
    PreparedFolder,
    RawCapture,
    find_raw_captures,
)
from mesoface.lab.facescape.maps import BaseMaps, base_maps, write_facial_mask, write_maps
from mesoface.lab.facescape.metadata import Alignment, Scales, Selection, read_splits, split_people
from mesoface.lab.facescape.photos import choose_views, given_views, prepared_photo
from mesoface.lab.facescape.records import Record, read_records, write_record, write_summary
from mesoface.lab.facescape.settings import PrepareSettings
from mesoface.lab.training.truth import check_truth
from mesoface.pipeline import reconstruct
from mesoface.results.face import Face
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import incomplete, resumable_folder, run_jobs

MANIFEST = "prepare.json"
_RECIPE = 1  # to be raised when the same capture is prepared differently
_QUALITY = 95  # of the JPEG files


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
        facescape.write(
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
    write_record(
        folder,
        Record(
            id=id,
            split=job.split,
            views=tuple(numbers),
            mm_per_unit=job.mm_per_unit,
            scan=job.raw.scan is not None,
            known=round(maps.known, 4),
            landmark_error_px=round(float(np.nanmedian(face.fit.residuals)), 3),
            notes=(*source.notes, *notes, *face.warnings),
        ),
    )


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
