"""A sequence from its captures to its results: in order, resumable, whatever becomes of single frames."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

import mesoface
from mesoface.batch.attempt import write_face
from mesoface.batch.job import BatchOptions, CaptureJob
from mesoface.batch.ledger import Ledger, open_ledger
from mesoface.batch.provenance import CaptureInput, capture_input, is_current, recipe_of, write_made_from
from mesoface.batch.summary import CaptureRow
from mesoface.captures.capture import CaptureSource
from mesoface.captures.formats import read_source
from mesoface.captures.lists import find_captures
from mesoface.captures.load import load_source
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import atomic_file, put_in_place
from mesoface.files.meshes import read_mesh
from mesoface.results.face import Face
from mesoface.results.files import read_record
from mesoface.running.process import StageClock, keep_freed_memory
from mesoface.running.progress import ProgressCallback, progress_bars
from mesoface.sequence.frame import Frame, FrameMeasurer
from mesoface.sequence.person import NAME as PERSON
from mesoface.sequence.person import Person, check_cameras, find_person, read_person
from mesoface.sequence.state import (
    FRAME,
    REMEDY,
    TRACK,
    FrameRecord,
    Track,
    read_model,
    read_track,
    write_model,
    write_track,
)
from mesoface.sequence.warm import LAST

FORMAT = 1
"""Version of ``sequence.json``."""


def run_sequence(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    options: BatchOptions | None = None,
    format: str | None = None,
    truth: str | None = None,
    console: Console | None = None,
) -> list[CaptureRow]:
    """Reconstruct the frames of a multi-view video: one person, the same cameras, in the inputs' order.

    The person's identity, the scale and the views are found once. Each frame starts from the previous one:
    the skin is tracked in all views, expression and pose are fitted to it, and the surface is searched
    nearby. If that fails (a cut, a jump), the frame is measured afresh, and ``sequence.json`` has the reason.
    Results are those of :func:`mesoface.batch.run.run_batch`, with ``track.npz`` in each.

    Args, result and errors are those of :func:`mesoface.batch.run.run_batch`, but ``options`` that are not
    about resuming or reports have no effect.

    Raises:
        MesofaceError: as there; also if a setting does not suit a sequence, or no face was found.
    """
    out, settings, options = Path(out), settings or Settings(), options or BatchOptions()
    captures = find_captures(inputs, out=out)
    _check_settings(settings)
    recipe = {**recipe_of(settings), "sequence": [str(path) for path in captures.values()]}
    jobs = [
        CaptureJob(name, capture, out.absolute(), settings, recipe, format, truth, options.reports)
        for name, capture in captures.items()
    ]
    keep_freed_memory()
    with (
        open_ledger(out, jobs, resume=options.resume, kind="frames") as ledger,
        progress_bars(console or Console(stderr=True), remaining=True) as progress,
    ):
        _Sequence(ledger, progress).run()
    return ledger.rows()


class _Sequence:
    """The frames of one sequence, while they are measured."""

    def __init__(self, ledger: Ledger, progress: ProgressCallback):
        self._ledger, self._progress = ledger, progress
        self._out, self._jobs = ledger.out, ledger.jobs
        self._model = load_face_model(ledger.settings.face_model)
        self._records: dict[str, FrameRecord] = {}
        self._person = self._find_person()
        self._pending: tuple[CaptureJob, FrameRecord, Future[None]] | None = None  # being written

    def run(self) -> None:
        """Measure the remaining frames: each is finished and written while the next one is measured.

        The next frame needs neither texture, predicted relief nor files of this one.
        """
        measurer = FrameMeasurer(self._person, self._model, self._ledger.settings)
        before: str | None = None  # the frame that the next one starts from
        track: Track | None = None  # its track, read when it is needed
        with ThreadPoolExecutor(1, "frame-writer") as pool:
            for number, job in enumerate(self._jobs):
                self._progress("Frames", number, len(self._jobs))
                kept = self._kept(job, before)
                if kept is not None:
                    self._records[job.id] = kept
                    self._ledger.keep(job)
                    before, track = job.id, None
                    continue
                try:
                    if before is not None and track is None:
                        track = read_track(self._out / before)
                    frame, record, made_of = self._measure(job, measurer, before, track)
                except MesofaceError as error:
                    self._add(job, None, error)
                    before = track = None
                    continue
                self._settle()  # memory is planned for two faces
                written = pool.submit(_write, job, frame, record, made_of, measurer.finish)
                self._pending = job, record, written
                before, track = job.id, frame.track
            self._settle()
        self._progress("Frames", len(self._jobs), len(self._jobs))
        self._save()

    def _settle(self) -> None:
        """Wait for the frame that is being written, if there is one, and count it."""
        if self._pending is None:
            return
        (job, record, written), self._pending = self._pending, None
        try:
            written.result()
        except MesofaceError as error:
            self._add(job, None, error)
        else:
            self._records[job.id] = record
            self._add(job, read_record(job.result), None)

    def _add(self, job: CaptureJob, record: dict[str, Any] | None, error: MesofaceError | None) -> None:
        self._ledger.add(job, record, error)
        self._save()

    def _find_person(self) -> Person:
        """The person that an earlier run found, or that is found now."""
        if (self._out / PERSON).is_file() and any(is_current(job, followed=True) for job in self._jobs):
            return read_person(self._out, self._model)
        captures = [(job.id, job.capture) for job in self._jobs]
        person = find_person(
            captures,
            self._ledger.settings,
            self._model,
            format=self._jobs[0].format,
            progress=self._progress,
        )
        write_model(self._out / PERSON, person)
        return person

    def _save(self) -> None:
        """Write ``sequence.json``: the person, and how each frame that is done was measured."""
        records = [self._records[job.id] for job in self._jobs if job.id in self._records]
        person = self._person
        content = {
            "format": FORMAT,
            "mesoface": mesoface.__version__,
            "frames": len(self._jobs),
            "views": person.views,
            "mm_per_unit": person.mm_per_unit,
            "identity": {"frames": person.frames, "coefficients": person.identity},
            "afresh": [record.frame for record in records if record.follows is None],
            "done": [record.model_dump() for record in records],
        }
        with atomic_file(self._out / "sequence.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _kept(self, job: CaptureJob, before: str | None) -> FrameRecord | None:
        """The record of a frame whose result is complete and still follows the same frame; else None."""
        if not (job.result / TRACK).is_file() or not (job.result / FRAME).is_file():
            return None
        record = read_model(job.result / FRAME, FrameRecord, "a frame's record", remedy=REMEDY)
        if record.follows not in (None, before) or not is_current(job, followed=record.follows is not None):
            return None
        return record

    def _measure(
        self, job: CaptureJob, measurer: FrameMeasurer, before: str | None, track: Track | None
    ) -> tuple[Frame, FrameRecord, CaptureInput]:
        made_of = capture_input(job.capture, job.format, job.truth_path)
        clock = StageClock()
        with clock.stage("loading"):
            source = read_source(job.capture, job.format)
            check_cameras(source, self._reference(), self._person.views)
            capture = load_source(source, names=self._person.views)
        why = "the first frame" if job is self._jobs[0] else "the previous frame failed"
        frame = measurer.measure(capture, track, why)
        frame = replace(frame, face=frame.face.after(clock.stages))
        record = FrameRecord(
            frame=job.id,
            follows=before if frame.reason is None else None,
            reason=frame.reason,
            agreement=frame.agreement,
        )
        return frame, record, made_of

    def _reference(self) -> CaptureSource:
        """The frame that has the sequence's cameras."""
        job = next(job for job in self._jobs if job.id == self._person.frames[0])
        return read_source(job.capture, job.format)


def _check_settings(settings: Settings) -> None:
    """Check that a sequence can be made with the settings.

    Raises:
        MesofaceError: it cannot.
    """
    if settings.preset not in LAST:
        raise MesofaceError(
            f"a sequence cannot be made with the preset {settings.preset}",
            remedy=f"use --preset {', '.join(LAST)}, or leave out --sequence",
        )
    if settings.until != "fine":
        raise MesofaceError(
            "a frame of a sequence starts from the previous surface, which --until base does not measure",
            remedy="leave out --until, or --sequence",
        )


def _write(
    job: CaptureJob, frame: Frame, record: FrameRecord, made_of: CaptureInput, finish: Callable[[Face], Face]
) -> None:
    """Finish a measured frame and put its result in its place, whole or not at all."""
    folder = job.out / f".{job.id}-{secrets.token_hex(6)}"  # a name that leftovers are known by
    try:
        truth = None if job.truth_path is None else read_mesh(job.truth_path)
        write_face(folder, job, finish(frame.face), truth, followed=record.follows is not None)
        write_track(folder, frame.track)
        write_model(folder / FRAME, record)
        write_made_from(folder, job.recipe, made_of)
        put_in_place(folder, job.result)
    except OSError as error:
        raise MesofaceError(
            f"cannot be written: {error.strerror or error}", path=job.result, remedy="free space"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
