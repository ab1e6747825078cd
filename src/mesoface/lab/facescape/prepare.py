"""From FaceScape's captures as published to the prepared folder: a job each, resumable, all reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import mesoface
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import remove_leftovers
from mesoface.lab.facescape.layout import PreparedFolder
from mesoface.lab.facescape.maps import write_facial_mask
from mesoface.lab.facescape.metadata import (
    SCALES,
    SELECTION,
    SPLITS,
    Alignment,
    Scales,
    Selection,
    read_splits,
)
from mesoface.lab.facescape.names import CaptureId
from mesoface.lab.facescape.photos import LONGEST_SIDE
from mesoface.lab.facescape.prepare_capture import PrepareJob, prepare_capture
from mesoface.lab.facescape.raw import RawCapture, find_raw_captures
from mesoface.lab.facescape.records import Record, read_records, write_summary
from mesoface.lab.facescape.splits import split_people
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.resumable import resumable_folder
from mesoface.running.workers import run_jobs

MANIFEST = "prepare.json"
_RECIPE = 1  # to be raised whenever the same capture is prepared otherwise


@dataclass(frozen=True)
class PrepareSettings:
    """What is the same for all captures of a prepared folder.

    Args:
        views: of each capture, at most, where no ``select_dict.json`` says which.
        longest_side: of the photos, pixels.
        face_model: the base mesh's, by name or path.
        validation_share: of the people, where no ``id.json`` says who.
        eval_share: likewise.
        seed: of the choice of people.
    """

    views: int = 10
    longest_side: int = LONGEST_SIDE
    face_model: str = "generic"
    validation_share: float = 0.05
    eval_share: float = 0.1
    seed: int = 0


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

    A capture that is complete and has the same scale is kept. One that fails is named in ``captures.csv``
    with the reason, stops no other, and is tried again by the next run.

    Args:
        root: as :func:`mesoface.lab.facescape.raw.find_raw_captures` takes it.
        out: the prepared folder.
        settings: see :class:`PrepareSettings`.
        scales: ``Rt_scale_dict.json``; None: the one in ``root``.
        selection: ``select_dict.json``; None: the one in ``root``, else views are chosen.
        splits: ``id.json``; None: the one in ``root``, else people are drawn. Captures that it does not name
            are left alone.
        workers: processes at a time.
        progress: told after every capture.

    Returns:
        what was done for each prepared capture, sorted.

    Raises:
        MesofaceError: no capture or no scales are there, a file cannot be used, or ``out`` holds other
            things.
        IncompleteError: some captures failed; the others are prepared.
    """
    settings, root = settings or PrepareSettings(), Path(root)
    folder = PreparedFolder(Path(out))
    captures = find_raw_captures(root)
    scale_table = Scales(scales or root / SCALES)
    selection_file = _metadata(root, selection, SELECTION)
    view_table = None if selection_file is None else Selection(selection_file)
    splits_file = _metadata(root, splits, SPLITS)
    given_splits = None if splits_file is None else read_splits(splits_file)
    model = load_face_model(settings.face_model)  # a wrong name is told at once
    recipe = {
        "format": "mesoface prepared FaceScape",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        **asdict(settings),
        SELECTION: _digest(selection_file),
        SPLITS: _digest(splits_file),
    }
    with resumable_folder(folder.root, MANIFEST, recipe):
        for below in [path for path in folder.root.rglob("*") if path.is_dir() and not path.is_symlink()]:
            if below.exists():  # it may have been in one that was removed
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
            outcomes = run_jobs(
                prepare_capture, jobs, workers=workers, preload=["mesoface.lab.facescape.prepare_capture"]
            )
            for number, outcome in enumerate(outcomes, done + 1):
                if outcome.error is not None:
                    failed[outcome.job.raw.id] = outcome.error
                progress("Captures", number, total)
        finally:
            records = read_records(folder)
            records = {id: records[id] for id in split_of if id in records and id not in failed}
            write_summary(folder, records, failed, alignments)
    if failed:
        raise _incomplete(folder, failed, len(split_of))
    return list(records.values())


def _metadata(root: Path, given: str | Path | None, name: str) -> Path | None:
    """A metadata file: the given one, else that in ``root``, else None."""
    if given is not None:
        return Path(given)
    return root / name if (root / name).is_file() else None


def _digest(file: Path | None) -> str | None:
    return None if file is None else sha256(file.read_bytes()).hexdigest()


def _splits(
    captures: Mapping[CaptureId, RawCapture],
    records: Mapping[CaptureId, Record],
    given: Mapping[str, list[CaptureId]] | None,
    settings: PrepareSettings,
) -> dict[CaptureId, str]:
    """The split of every capture that is to be prepared."""
    if given is not None:
        named = {id: split for split, ids in given.items() for id in ids}
        if not any(id in captures for id in named):
            raise MesofaceError(
                f"{SPLITS} names no capture that is there", remedy="give that of these people"
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


def _incomplete(folder: PreparedFolder, failed: Mapping[CaptureId, str], total: int) -> IncompleteError:
    first = "; ".join(f"{id}: {reason}" for id, reason in sorted(failed.items())[:3])
    more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
    return IncompleteError(
        f"{len(failed)} of {total} captures failed: {first}{more}",
        path=folder.table,
        remedy="mend them and run the same command again; the others are kept",
    )
