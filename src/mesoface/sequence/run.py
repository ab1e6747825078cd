"""A sequence from its captures to its results: in order, resumable, one bad frame stops no other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mesoface.batch.job import CaptureJob, Reports
from mesoface.batch.ledger import Ledger
from mesoface.batch.provenance import capture_input, is_current, recipe_of
from mesoface.batch.schedule import Done
from mesoface.batch.summary import CaptureRow, check_folder
from mesoface.captures.capture import CaptureSource
from mesoface.captures.formats import read_source
from mesoface.captures.lists import find_captures
from mesoface.captures.load import load_source
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import remove_leftovers
from mesoface.files.lock import locked_folder
from mesoface.results.folder import read_record
from mesoface.running.memory import keep_freed_memory
from mesoface.running.progress import ProgressCallback, progress_bars
from mesoface.running.resumable import incomplete
from mesoface.running.stages import StageClock
from mesoface.sequence.frame import FrameMeasurer
from mesoface.sequence.person import NAME as PERSON
from mesoface.sequence.person import Person, check_cameras, find_person, read_person, write_person
from mesoface.sequence.record import FRAME, FrameRecord, read_frame_record, write_sequence
from mesoface.sequence.state import NAME as TRACK
from mesoface.sequence.state import Track, read_track
from mesoface.sequence.warm import LAST
from mesoface.sequence.writing import FrameWriter, MeasuredFrame


def run_sequence(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    resume: bool = False,
    format: str | None = None,
    truth: str | None = None,
    reports: Reports = "afresh",
    console: Console | None = None,
) -> list[CaptureRow]:
    """Reconstruct the frames of a multi-view video: one person, the same cameras, in the inputs' order.

    The person's identity, the scale and the views are found once. Each frame starts from the one before: its
    skin is followed in all views, expression and pose are fitted to that, and the surface is searched near
    by. Where that fails (a cut, a jump) the frame is measured afresh, and ``sequence.json`` says why.
    Results are as :func:`mesoface.batch.run.run_batch` leaves them, with ``track.npz`` in each frame's.

    Args:
        inputs: captures, folders that hold some, lists; see :func:`mesoface.captures.lists.find_captures`.
        out: the sequence's folder.
        settings: of the reconstructions; None for the defaults.
        resume: whether to go on with the sequence in the folder, after its last complete frame.
        format: the captures' format, or None to look at each folder.
        truth: name of the file in each capture's folder that is its true surface; None where there is none.
        reports: which frames have a ``report.html``.
        console: where progress is shown; None for standard error.

    Returns:
        what came of each frame, in the order of the inputs.

    Raises:
        MesofaceError: an input or a setting is wrong, ``out`` holds other things or cannot be written, or
            nobody is to be seen.
        IncompleteError: some frames failed; all others are done.
    """
    out, settings = Path(out), settings or Settings()
    captures = find_captures(inputs, out=out)
    _check_settings(settings)
    recipe = {**recipe_of(settings), "sequence": [str(path) for path in captures.values()]}
    jobs = [
        CaptureJob(name, capture, out.absolute(), settings, recipe, format, truth, reports)
        for name, capture in captures.items()
    ]
    keep_freed_memory()
    with locked_folder(out), progress_bars(console or Console(stderr=True), remaining=True) as progress:
        check_folder(out, jobs, resume=resume)
        remove_leftovers(out)
        ledger = Ledger(out, jobs, settings)
        ledger.save(elapsed=0.0, ended=0)
        try:
            _Sequence(out, jobs, settings, ledger, progress).run()
        finally:
            remove_leftovers(out)
    rows = ledger.rows()
    failed = [f"{row.id} ({row.error})" for row in rows if row.error is not None]
    if failed:
        raise incomplete(failed, len(jobs), "frames", path=out)
    return rows


class _Sequence:
    """The frames of one sequence on their way."""

    def __init__(
        self,
        out: Path,
        jobs: Sequence[CaptureJob],
        settings: Settings,
        ledger: Ledger,
        progress: ProgressCallback,
    ):
        self._out, self._jobs, self._settings = out, jobs, settings
        self._ledger, self._progress = ledger, progress
        self._model = load_face_model(settings.face_model)
        self._records: dict[str, FrameRecord] = {}
        self._begun, self._made = time.monotonic(), 0
        self._person = self._find_person()
        self._views = self._person.views

    def run(self) -> None:
        """Do what is left: each frame is finished and written while the next one is measured."""
        measurer = FrameMeasurer(self._person, self._model, self._settings)
        before: str | None = None  # the frame that the next one starts from
        track: Track | None = None  # its track, read when it is needed
        with FrameWriter(measurer.finish, self._written) as writer:
            for number, job in enumerate(self._jobs):
                self._progress("Frames", number, len(self._jobs))
                kept = self._kept(job, before)
                if kept is not None:
                    self._records[job.id] = kept
                    self._ledger.add(Done(job, read_record(job.result), None))
                    before, track = job.id, None
                    continue
                try:
                    if before is not None and track is None:
                        track = read_track(self._out / before)
                    measured = self._measure(job, measurer, before, track)
                except MesofaceError as error:
                    self._ended(Done(job, None, str(error)))
                    before = track = None
                    continue
                writer.write(measured)
                before, track = job.id, measured.frame.track
        self._progress("Frames", len(self._jobs), len(self._jobs))
        self._save()
        self._ledger.save(elapsed=time.monotonic() - self._begun, ended=self._made)

    def _written(self, measured: MeasuredFrame, error: MesofaceError | None) -> None:
        """Count a frame that was written, or could not be."""
        job = measured.job
        if error is None:
            self._records[job.id] = measured.record
            self._ended(Done(job, read_record(job.result), None))
        else:
            self._ended(Done(job, None, str(error)))

    def _ended(self, done: Done) -> None:
        """Count a frame that was made now, or could not be."""
        self._made += 1
        self._ledger.add(done)
        self._save()
        self._ledger.save_now_and_then(elapsed=time.monotonic() - self._begun, ended=self._made)

    def _find_person(self) -> Person:
        """The person as an earlier run has found them, or found now."""
        if (self._out / PERSON).is_file() and any(is_current(job, followed=True) for job in self._jobs):
            return read_person(self._out, self._model)
        captures = [(job.id, job.capture) for job in self._jobs]
        person = find_person(
            captures, self._settings, self._model, format=self._jobs[0].format, progress=self._progress
        )
        write_person(self._out, person)
        return person

    def _save(self) -> None:
        done = [self._records[job.id] for job in self._jobs if job.id in self._records]
        write_sequence(self._out, self._person, done, len(self._jobs))

    def _kept(self, job: CaptureJob, before: str | None) -> FrameRecord | None:
        """What is known of a frame that is complete and follows the frame that it followed."""
        if not (job.result / TRACK).is_file() or not (job.result / FRAME).is_file():
            return None
        record = read_frame_record(job.result)
        if record.follows not in (None, before) or not is_current(job, followed=record.follows is not None):
            return None
        return record

    def _measure(
        self, job: CaptureJob, measurer: FrameMeasurer, before: str | None, track: Track | None
    ) -> MeasuredFrame:
        made_of = capture_input(job.capture, job.format, job.truth_path)
        clock = StageClock()
        with clock.stage("loading"):
            source = read_source(job.capture, job.format)
            check_cameras(source, self._reference(), self._views)
            capture = load_source(source, names=self._views)
        why = "the first frame" if job is self._jobs[0] else "there is no frame before it"
        frame = measurer.measure(capture, track, why)
        frame = replace(frame, face=frame.face.after(clock.stages))
        record = FrameRecord(
            frame=job.id,
            follows=before if frame.reason is None else None,
            reason=frame.reason,
            agreement=frame.agreement,
        )
        return MeasuredFrame(job, frame, record, made_of)

    def _reference(self) -> CaptureSource:
        """The frame whose cameras are the sequence's."""
        job = next(job for job in self._jobs if job.id == self._person.frames[0])
        return read_source(job.capture, job.format)


def _check_settings(settings: Settings) -> None:
    """See that a sequence can be made with the settings.

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
            "a frame starts from the measured surface of the one before, so --until base makes no sequence",
            remedy="leave out --until, or --sequence",
        )
