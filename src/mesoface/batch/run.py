"""A batch from its inputs to its summary, and the order of its attempts."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mesoface.batch.attempt import PRELOAD, attempt_capture
from mesoface.batch.cluster import RayEngine
from mesoface.batch.engine import Ended, Engine, LocalEngine, MemoryNeed
from mesoface.batch.job import Attempt, BatchOptions, CaptureJob
from mesoface.batch.ledger import Ledger, batch_progress, open_ledger
from mesoface.batch.provenance import named_files, recipe_of
from mesoface.batch.summary import CaptureRow
from mesoface.captures.lists import find_captures
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.pipeline import choose_measure
from mesoface.running.progress import progress_bars
from mesoface.running.workers import End

_LOOK_AGAIN = 0.5  # s between two checks for room
_MOST_LOSSES = 10  # lost machines, after which a capture counts as failed


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

    A capture that fails does not stop the others. Each result appears complete or not at all, so that the
    batch can be interrupted at any time and resumed: results that are complete and were made with the same
    settings, weights and version from the same photos are kept.

    Args:
        inputs: captures, folders that hold some, lists; see :func:`mesoface.captures.lists.find_captures`.
        out: the batch's folder.
        settings: of the reconstructions; None for the defaults.
        options: of the batch; None for the defaults.
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
    with open_ledger(out, jobs, resume=options.resume, kind="captures") as ledger:
        with progress_bars(console) as progress:
            ledger.keep_current(progress)
        _work_off(ledger, options, console)
    return ledger.rows()


def _work_off(ledger: Ledger, options: BatchOptions, console: Console) -> None:
    """Attempt the captures that are left."""
    left = ledger.left()
    with batch_progress(console, len(ledger.jobs), len(ledger.jobs) - len(left)) as shown:
        if not left:
            return
        with _engine(ledger, options, len(left)) as engine:
            for ended in run_schedule(left, engine, retries=options.retries, started=shown.started):
                record = None if ended.result is None else ended.result.record
                ledger.add(ended.job.job, record, ended.error)
                shown.done(ended)


def _engine(ledger: Ledger, options: BatchOptions, count: int) -> Engine:
    """What runs the attempts."""
    threads = ledger.settings.threads
    need = MemoryNeed(options.memory_per_capture or ledger.largest_peak_mb())
    how: dict[str, Any] = {"need": need, "limit": options.limit, "preload": PRELOAD}
    if options.engine == "ray":
        return RayEngine(attempt_capture, address=options.address, threads=threads, **how)
    workers = options.workers or max(1, (os.cpu_count() or 1) // threads)
    return LocalEngine(attempt_capture, workers=min(workers, count), **how)


def _anywhere(settings: Settings) -> Settings:
    """The settings with paths that do not depend on where a process was started."""
    paths = {name: path.absolute() for name, path in named_files(settings).items() if name != "face_model"}
    if settings.face_model not in ("generic", "ict"):
        paths["face_model"] = str(Path(settings.face_model).absolute())  # type: ignore[assignment]
    return settings.model_copy(update=paths)


def _check_settings(settings: Settings) -> None:
    """Report what is wrong with the settings once, not for every capture.

    Raises:
        MesofaceError: there is no such device, face model or weights.
    """
    load_face_model(settings.face_model)
    if settings.until != "base" or settings.device == "cuda":
        choose_measure(settings)  # torch takes seconds to import


def run_schedule(
    jobs: Sequence[CaptureJob],
    engine: Engine,
    *,
    retries: int,
    started: Callable[[Attempt], None] | None = None,
) -> Iterator[Ended]:
    """Attempt every capture until it is done or another attempt is useless; yield the last attempt of each.

    A capture that is refused, by an error that describes what is wrong with it, is not tried again: it would
    be refused again. One whose process failed, died or hung is tried again after all others: the cause may
    be gone by then. A capture whose machine was lost is tried again, whatever ``retries`` is.

    Args:
        jobs: the captures.
        engine: what runs the attempts.
        retries: further attempts after the first.
        started: called with every attempt that begins.

    Raises:
        MesofaceError: no result could be made, even by another attempt, for a reason that would affect all
            other captures too: the disk is full, for example.
    """
    waiting = deque(Attempt(job) for job in jobs)
    losses: Counter[str] = Counter()
    running = 0
    while waiting or running:
        while waiting and engine.has_room():
            attempt = waiting.popleft()
            attempt.claim()
            engine.start(attempt)
            running += 1
            if started is not None:
                started(attempt)
        for ended in engine.wait(_LOOK_AGAIN):
            running -= 1
            attempt, job = ended.job, ended.job.job
            failed = ended.result is None and ended.end is not End.REFUSED
            obstacle = None if ended.result is None else ended.result.obstacle
            if ended.end is End.LOST and losses[job.id] < _MOST_LOSSES:
                losses[job.id] += 1
                waiting.append(Attempt(job, attempt.number))
            elif (failed or obstacle is not None) and attempt.number <= retries:
                waiting.append(Attempt(job, attempt.number + 1))
            else:
                job.release()
                if obstacle is not None:  # this is not the capture's fault
                    raise MesofaceError(
                        f"no result can be made: {obstacle}",
                        path=job.out,
                        remedy="mend that and continue with --resume; finished results are kept",
                    )
                yield ended
