"""Measured frames are finished and written, whole or not at all, while the next one is measured."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mesoface.batch.attempt import write_face
from mesoface.batch.job import CaptureJob
from mesoface.batch.provenance import CaptureInput, write_made_from
from mesoface.errors import MesofaceError
from mesoface.files.atomic import put_in_place
from mesoface.files.meshes import read_mesh
from mesoface.results.face import Face
from mesoface.sequence.frame import Frame
from mesoface.sequence.state import FRAME, FrameRecord, write_model, write_track


@dataclass(frozen=True, eq=False)
class MeasuredFrame:
    """A frame to be written.

    Args:
        job: its capture.
        frame: what was measured.
        record: how it was measured.
        made_of: from :func:`mesoface.batch.provenance.capture_input`, before the photos were read.
    """

    job: CaptureJob
    frame: Frame
    record: FrameRecord
    made_of: CaptureInput


class FrameWriter(AbstractContextManager["FrameWriter"]):
    """Finishes and writes frames in its own thread, one at a time; leaving the block waits for the last.

    The next frame needs neither texture, predicted relief nor files of this one.

    Args:
        finish: adds texture and predicted relief to a measured face.
        written: called in the thread that calls the writer, for each frame in order: with the frame, and the
            error if it could not be written.
    """

    def __init__(
        self, finish: Callable[[Face], Face], written: Callable[[MeasuredFrame, MesofaceError | None], None]
    ) -> None:
        self._finish, self._written = finish, written
        self._pool = ThreadPoolExecutor(1, "frame-writer")
        self._pending: tuple[MeasuredFrame, Future[None]] | None = None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._settle()

    def write(self, measured: MeasuredFrame) -> None:
        """Begin to write a frame once the previous one is written: memory is planned for two faces."""
        self._settle()
        self._pending = measured, self._pool.submit(_write, measured, self._finish)

    def _settle(self) -> None:
        """Wait for the frame that is being written, if there is one."""
        if self._pending is None:
            return
        (measured, future), self._pending = self._pending, None
        error = None
        try:
            future.result()
        except MesofaceError as failure:
            error = failure
        self._written(measured, error)


def _write(measured: MeasuredFrame, finish: Callable[[Face], Face]) -> None:
    job = measured.job
    folder = job.out / f".{job.id}-{secrets.token_hex(6)}"  # a name that leftovers are known by
    try:
        truth = None if job.truth_path is None else read_mesh(job.truth_path)
        face = finish(measured.frame.face)
        write_face(folder, job, face, truth, followed=measured.record.follows is not None)
        write_track(folder, measured.frame.track)
        write_model(folder / FRAME, measured.record)
        write_made_from(folder, job.recipe, measured.made_of)
        put_in_place(folder, job.result)
    except OSError as error:
        raise MesofaceError(
            f"cannot be written: {error.strerror or error}", path=job.result, remedy="free space"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
