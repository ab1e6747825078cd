"""Many independent jobs in processes of their own: one that fails, or dies, does not stop the others.

Every job gets a fresh process, so its memory is freed afterwards, and a job that the system kills because
memory runs out is known by name. The processes are forked from a server that has loaded the heavy modules,
which makes a fresh one cheap; on Windows, which cannot fork, every process loads them.

A folder may be filled by such jobs over several runs, always by the same recipe.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.atomic import LOCK, atomic_file, locked_folder, remove_leftovers
from mesoface.running.process import Shared
from mesoface.running.progress import ProgressCallback, silent

Job = TypeVar("Job")
Result = TypeVar("Result")

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)
# One thread in each process: the processes are what runs in parallel.
_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SECONDS_TO_LEAVE = 10.0  # for a process that has given its answer; threads in native code may hang
_MOST_NAMED = 5  # failed jobs that the error names with their reason
_GO_ON = "mend that and run the same command again; the others are kept"


class End(StrEnum):
    """How a job came to its end."""

    DONE = "done"
    REFUSED = "refused"  # with a MesofaceError: another try would end the same way
    FAILED = "failed"  # with any other exception
    DIED = "died"  # its process ended without an answer
    LATE = "late"  # it exceeded its time limit and was ended
    LOST = "lost"  # the machine that it ran on is gone


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Job, Result]):
    """How a job ended.

    Args:
        job: which one.
        result: what it returned, None when it failed.
        error: why it failed, in one line, or None.
        end: which kind of end that is.
    """

    job: Job
    result: Result | None
    error: str | None
    end: End = End.DONE


class Worker(Generic[Job, Result]):
    """One job in a process of its own, from now on.

    Args:
        function: of a module (it travels by its name); its result must be picklable.
        job: its argument; picklable.
        limit: seconds that it may take; None for no limit.
    """

    def __init__(self, function: Callable[[Job], Result], job: Job, *, limit: float | None = None):
        ours, theirs = _CONTEXT.Pipe(duplex=False)
        self.job = job
        self.answer: Connection = ours
        """Ready, for :func:`multiprocessing.connection.wait`, when the job has ended."""
        self._process = _CONTEXT.Process(target=_work, args=(function, job, theirs), daemon=True)
        with _single_threaded:
            self._process.start()
        theirs.close()
        self._limit = limit
        self._deadline = None if limit is None else time.monotonic() + limit

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def remaining(self) -> float | None:
        """Seconds until the time limit, not below 0; None without a limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def finish(self) -> Outcome[Job, Result]:
        """Wait for the end, or end the job when its time is over; to be called once."""
        if not self.answer.poll(self.remaining()):
            self.kill()
            return Outcome(self.job, None, f"took longer than {self._limit:g} s", End.LATE)
        try:
            result, error, end = self.answer.recv()
            self._process.join(_SECONDS_TO_LEAVE)
        except EOFError:  # it ended without an answer
            self._process.join()
            result, error, end = None, _describe_exit(self._process.exitcode or 0), End.DIED
        self.kill()
        return Outcome(self.job, result, error, end)

    def kill(self) -> None:
        """End the process, whatever it does; it is gone when this returns."""
        self._process.kill()
        self._process.join()
        self.answer.close()


def prepare_workers(preload: Sequence[str] = ()) -> None:
    """Start the server that workers are forked from, if there is one and it does not run yet.

    Args:
        preload: names of modules that the server loads, so that the processes have them already.
    """
    if _METHOD == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        _CONTEXT.set_forkserver_preload(["__main__", __name__, *preload])
        resource_tracker.ensure_running()  # first: it unblocks Ctrl-C when it starts
        # Workers inherit that Ctrl-C is blocked: before they can ignore it, it would print a traceback.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _single_threaded:
                forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, preload: Sequence[str] = ()
) -> Iterator[Outcome[Job, Result]]:
    """Run ``function`` on every job, ``workers`` at a time, and yield the outcomes in order of completion.

    Closing the generator, or an interrupt, ends the running jobs at once.

    Args:
        function: of a module (it travels by its name); its results must be picklable.
        jobs: picklable.
        workers: processes at a time.
        preload: see :func:`prepare_workers`.
    """
    prepare_workers(preload)
    waiting = list(reversed(jobs))
    running: dict[Connection, Worker[Job, Result]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = Worker(function, waiting.pop())
                running[worker.answer] = worker
            for ready in connection.wait(list(running)):
                assert isinstance(ready, Connection)
                yield running.pop(ready).finish()
    finally:
        for worker in running.values():
            worker.kill()


def _describe_exit(code: int) -> str:
    """How a process ended that sent no answer."""
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    hint = ", perhaps for want of memory" if how == "SIGKILL" else ""
    return f"its process ended with {how}{hint}"


def _work(function: Callable[[Job], Any], job: Job, report: Connection) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # pycolmap's handler prints pages before it ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _offer_to_the_memory_killer()
    cv2.setNumThreads(1)
    try:
        answer: tuple[Any, str | None, End] = (function(job), None, End.DONE)
    except MesofaceError as error:
        answer = (None, str(error), End.REFUSED)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(at.filename)}:{at.lineno}"
        answer = (None, f"{type(error).__name__}: {error} ({where})", End.FAILED)
    report.send(answer)
    report.close()


def _offer_to_the_memory_killer() -> None:
    """Have Linux end this process when memory runs out, not its parent, which retries, or the desktop."""
    with suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text("500")


def _end_with_parent() -> None:
    """End this process when its parent was killed: nothing is left that would receive the result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@Shared
@contextmanager
def _single_threaded() -> Iterator[None]:
    """Environment variables for the processes that are started in the block."""
    before = {name: os.environ[name] for name in _SINGLE_THREADED if name in os.environ}
    os.environ.update(_SINGLE_THREADED)
    yield
    for name in _SINGLE_THREADED:
        del os.environ[name]
    os.environ.update(before)


@contextmanager
def resumable_folder(path: str | Path, manifest: str, recipe: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that one process at a time fills, by one recipe.

    Unfinished work of writers that were killed is removed at the start and at the end.

    Args:
        path: the folder; made when it does not exist.
        manifest: name of the JSON file in it that holds the recipe.
        recipe: what must be the same in all runs; JSON.

    Raises:
        MesofaceError: the folder holds other things or results of another recipe, another process is at
            work in it, or it cannot be written.
    """
    wanted = json.loads(json.dumps(recipe))
    with locked_folder(path) as folder:
        _check_recipe(folder, manifest, wanted)  # before anything is removed: the folder may be another's
        remove_leftovers(folder)
        try:
            yield folder
        finally:
            remove_leftovers(folder)


def _check_recipe(path: Path, manifest: str, recipe: dict[str, Any]) -> None:
    """Write the recipe into a new folder; in an older one it must be the same."""
    file = path / manifest
    if not file.exists():
        if any(entry.name != LOCK for entry in path.iterdir()):
            raise MesofaceError(
                f"this folder holds other things: it has no {manifest}", path=path, remedy="name another"
            )
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        return
    before = read_manifest(file)
    for name in (*recipe, *before):
        if before.get(name) != recipe.get(name):
            raise MesofaceError(
                f"was made with other settings: {name} {_difference(before.get(name), recipe.get(name))}",
                path=path,
                remedy="use the same ones to go on, or name another folder",
            )


def read_manifest(file: Path) -> dict[str, Any]:
    """The JSON object in a manifest.

    Raises:
        MesofaceError: it cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MesofaceError("cannot be read as JSON", path=file, remedy="name another folder") from error
    if not isinstance(content, dict):
        raise MesofaceError("is no JSON object", path=file, remedy="name another folder")
    return content


def _difference(before: Any, now: Any) -> str:
    """``was A, now B``, of what differs in them when they are objects."""
    if isinstance(before, dict) and isinstance(now, dict):
        name = next(name for name in (*now, *before) if before.get(name) != now.get(name))
        return f"{name} {_difference(before.get(name), now.get(name))}"
    return f"was {json.dumps(before)}, now {json.dumps(now)}"


def run_all(
    function: Callable[[Job], Any],
    jobs: Sequence[Job],
    *,
    path: Path,
    name_of: Callable[[Job], str],
    kind: str,
    workers: int,
    done_before: int = 0,
    preload: Sequence[str] = (),
    progress: ProgressCallback = silent,
) -> list[Any]:
    """Run every job in a process of its own, and raise one error at the end for those that failed.

    Args:
        function: of a module; see :func:`mesoface.running.workers.run_jobs`.
        jobs: those that remain.
        path: the folder they fill, for the error.
        name_of: makes a job's name for messages.
        kind: what the jobs make, for messages: "captures".
        workers: processes at a time.
        done_before: jobs done in earlier runs, for the progress.
        preload: modules that the processes have loaded when they start.
        progress: called after every job.

    Returns:
        the results, in order of completion.

    Raises:
        IncompleteError: some jobs failed; all others were done nevertheless.
    """
    total = done_before + len(jobs)
    label = kind.capitalize()
    progress(label, done_before, total)
    results, failed = [], []
    for number, outcome in enumerate(run_jobs(function, jobs, workers=workers, preload=preload), 1):
        if outcome.error is None:
            results.append(outcome.result)
        else:
            failed.append(f"{name_of(outcome.job)} ({outcome.error})")
        progress(label, done_before + number, total)
    if failed:
        raise incomplete(failed, total, kind, path=path)
    return results


def incomplete(
    failed: Sequence[str], total: int, kind: str, *, path: Path, remedy: str = _GO_ON
) -> IncompleteError:
    """The error that names some of the jobs that failed.

    Args:
        failed: the jobs, each with its reason.
        total: how many jobs there were.
        kind: what the jobs make, for messages.
        path: the folder they fill.
        remedy: what to do about it.
    """
    named = sorted(failed)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return IncompleteError(
        f"{len(failed)} of {total} {kind} failed: {'; '.join(named[:_MOST_NAMED])}{more}",
        path=path,
        remedy=remedy,
    )
