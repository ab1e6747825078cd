"""Many independent jobs in processes of their own: one that fails, or dies, does not stop the others.

Every job gets a fresh process, so memory is given back after each, and a job that the system kills for want
of memory is known by name. The processes are forked from a server that has the heavy modules loaded
already, which makes a fresh one cheap.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import cv2

from mesoface.errors import MesofaceError

Job = TypeVar("Job")
Result = TypeVar("Result")

# One thread in each process: the processes are what runs in parallel.
_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Job, Result]):
    """How a job ended.

    Args:
        job: which one.
        result: what it returned, None when it failed.
        error: why it failed, in one line, or None.
    """

    job: Job
    result: Result | None
    error: str | None


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, preload: Sequence[str] = ()
) -> Iterator[Outcome[Job, Result]]:
    """Run ``function`` on every job, ``workers`` at a time, and yield the outcomes as they come.

    Closing the generator, or an interrupt, ends the running jobs at once.

    Args:
        function: of a module (it travels by its name); its results must be picklable.
        jobs: picklable.
        workers: processes at a time.
        preload: names of modules that the processes shall have loaded already.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__, *preload])
    with _environment(_SINGLE_THREADED):
        forkserver.ensure_running()
    waiting = list(reversed(jobs))
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    process: BaseProcess
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(function, job, theirs), daemon=True)
                process.start()
                theirs.close()
                running[ours] = (job, process)
            for ready in connection.wait(list(running)):
                assert isinstance(ready, Connection)
                job, process = running.pop(ready)
                yield _outcome(job, process, ready)
    finally:
        for ours, (_, process) in running.items():
            process.kill()
            process.join()
            ours.close()


def _outcome(job: Job, process: BaseProcess, ready: Connection) -> Outcome[Job, Any]:
    """What a process that has ended, or is about to, had to say."""
    with ready:
        try:
            result, error = ready.recv()
        except EOFError:  # it ended without a word
            process.join()
            code = process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            result, error = None, f"its process ended with {how}{hint}"
    process.join()
    return Outcome(job, result, error)


def _work(function: Callable[[Job], Any], job: Job, report: Connection) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        answer: tuple[Any, str | None] = (function(job), None)
    except MesofaceError as error:
        answer = (None, str(error))
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        answer = (None, f"{type(error).__name__}: {error} ({os.path.basename(at.filename)}:{at.lineno})")
    report.send(answer)
    report.close()


def _end_with_parent() -> None:
    """Nobody is left to hear of the result when the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes that are started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
