"""A batch from its inputs to its summary, and nothing of how single captures are done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from mesoface.batch.attempt import PRELOAD, attempt_capture
from mesoface.batch.claims import release_all
from mesoface.batch.cluster import RayEngine
from mesoface.batch.engine import Engine, MemoryNeed
from mesoface.batch.job import BatchOptions, CaptureJob
from mesoface.batch.ledger import Ledger
from mesoface.batch.live import batch_progress
from mesoface.batch.local import LocalEngine
from mesoface.batch.provenance import named_files, recipe_of
from mesoface.batch.schedule import run_schedule
from mesoface.batch.summary import CaptureRow, check_folder
from mesoface.captures.lists import find_captures
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.atomic import remove_leftovers
from mesoface.files.lock import locked_folder
from mesoface.pipeline import choose_measure
from mesoface.running.progress import progress_bars
from mesoface.running.resumable import incomplete


def run_batch(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    options: BatchOptions | None = None,
    format: str | None = None,
    truth: str | None = None,
    console: Console | None = None,
) -> list[CaptureRow]:
    """Reconstruct every capture into ``out``/<id>, and write ``batch.json``, ``.csv`` and ``.html`` there.

    A capture that fails stops no other. Each result appears complete or not at all, so the work can be
    interrupted in any way and resumed: results that are complete and were made with the same settings,
    weights and version from the same photos are kept.

    Args:
        inputs: captures, folders that hold some, lists; see :func:`mesoface.captures.lists.find_captures`.
        out: the batch's folder.
        settings: of the reconstructions; None for the defaults.
        options: how to go about it; None for the defaults.
        format: the captures' format, or None to look at each folder.
        truth: name of the file in each capture's folder that is its true surface; None where there is none.
        console: where progress is shown; None for standard error.

    Returns:
        what came of each capture, in the order of the inputs.

    Raises:
        MesofaceError: an input or a setting is wrong, ``out`` holds other things or cannot be written, or the
            cluster is gone.
        IncompleteError: some captures failed; all others are done.
    """
    out, settings, options = Path(out), settings or Settings(), options or BatchOptions()
    console = console or Console(stderr=True)
    captures = find_captures(inputs, out=out)
    _check_settings(settings)
    settings, recipe = _anywhere(settings), recipe_of(settings)
    jobs = [
        CaptureJob(name, capture, out.absolute(), settings, recipe, format, truth, options.reports)
        for name, capture in captures.items()
    ]
    with locked_folder(out):
        check_folder(out, jobs, resume=options.resume)
        remove_leftovers(out)
        release_all(out)
        batch = Ledger(out, jobs, settings)
        batch.save(elapsed=0.0, ended=0)  # from here on the folder is known as a batch's
        with progress_bars(console) as progress:
            batch.keep_current(progress)
        try:
            _work_off(batch, options, console)
        finally:
            release_all(out)
            remove_leftovers(out)
    rows = batch.rows()
    failed = [f"{row.id} ({row.error})" for row in rows if row.error is not None]
    if failed:
        raise incomplete(
            failed,
            len(jobs),
            "captures",
            path=out,
            remedy="batch.html says all; mend it and run the same command with --resume, the others are kept",
        )
    return rows


def _work_off(batch: Ledger, options: BatchOptions, console: Console) -> None:
    """Do what is left of a batch; the summary is written whatever stops it."""
    left = batch.left()
    with batch_progress(console, len(batch.jobs), len(batch.jobs) - len(left)) as shown:
        try:
            if left:
                with _engine(batch, options, len(left)) as engine:
                    for done in run_schedule(left, engine, retries=options.retries, started=shown.started):
                        batch.add(done)
                        shown.done(done)
                        batch.save_now_and_then(elapsed=shown.elapsed, ended=shown.ended)
        except BaseException:
            with suppress(MesofaceError):  # the disk may be what is wrong
                batch.save(elapsed=shown.elapsed, ended=shown.ended)
            raise
        batch.save(elapsed=shown.elapsed, ended=shown.ended)


def _engine(batch: Ledger, options: BatchOptions, count: int) -> Engine:
    """What runs the attempts."""
    threads = batch.settings.threads
    need = MemoryNeed(options.memory_per_capture or batch.largest_peak_mb())
    if options.engine == "ray":
        return RayEngine(
            attempt_capture,
            address=options.address,
            threads=threads,
            need=need,
            limit=options.limit,
            preload=PRELOAD,
        )
    workers = options.workers or max(1, (os.cpu_count() or 1) // threads)
    return LocalEngine(
        attempt_capture, workers=min(workers, count), need=need, limit=options.limit, preload=PRELOAD
    )


def _anywhere(settings: Settings) -> Settings:
    """The settings with paths that do not depend on where a process was started."""
    paths = {name: path.absolute() for name, path in named_files(settings).items() if name != "face_model"}
    if settings.face_model not in ("generic", "ict"):
        paths["face_model"] = str(Path(settings.face_model).absolute())  # type: ignore[assignment]
    return settings.model_copy(update=paths)


def _check_settings(settings: Settings) -> None:
    """Say what is wrong with the settings once, and not of every capture.

    Raises:
        MesofaceError: there is no such device, face model or weights.
    """
    load_face_model(settings.face_model)
    if settings.until != "base" or settings.device == "cuda":
        choose_measure(settings)  # torch takes seconds to import
