"""The order of attempts: who is next, who gets another try, and when to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesoface.batch.claims import claim, release
from mesoface.batch.engine import Ended, Engine
from mesoface.batch.job import Attempt, CaptureJob
from mesoface.errors import MesofaceError
from mesoface.running.workers import End

_LOOK_AGAIN = 0.5  # s between two looks at what has room
_MOST_LOSSES = 10  # machines that may be lost under one capture before it is to blame

Listener = Callable[[Attempt], None]


@dataclass(frozen=True)
class Done:
    """A capture of which nothing is left to do.

    Args:
        job: the capture.
        record: its result's ``run.json``, None when there is none.
        error: why there is no result, None when there is one.
    """

    job: CaptureJob
    record: Mapping[str, Any] | None
    error: str | None


def run_schedule(
    jobs: Sequence[CaptureJob], engine: Engine, *, retries: int, started: Listener | None = None
) -> Iterator[Done]:
    """Attempt every capture until it is done, or it makes no sense to go on, and yield them as they end.

    A capture that is refused, by an error that tells people what is wrong with it, is not tried again: it
    would be refused again. One whose process failed, died or hung is, after all others: what was in its way
    may have gone. A capture whose machine was lost is tried again whatever ``retries`` says.

    Args:
        jobs: the captures.
        engine: what runs the attempts.
        retries: further attempts after the first.
        started: told of every attempt that begins.

    Raises:
        MesofaceError: something stands in the way that is no capture's fault, even when tried again: the disk
            is full, say. It would be in the way of all others.
    """
    waiting = deque(Attempt(job) for job in jobs)
    losses: dict[str, int] = {}
    running = 0
    while waiting or running:
        while waiting and engine.has_room():
            attempt = waiting.popleft()
            claim(attempt)
            engine.start(attempt)
            running += 1
            if started is not None:
                started(attempt)
        for ended in engine.wait(_LOOK_AGAIN):
            running -= 1
            attempt, job = ended.job, ended.job.job
            if ended.end is End.LOST and losses.get(job.id, 0) < _MOST_LOSSES:
                losses[job.id] = losses.get(job.id, 0) + 1
                waiting.append(Attempt(job, attempt.number))
            elif _may_be_transient(ended) and attempt.number <= retries:
                waiting.append(Attempt(job, attempt.number + 1))
            else:
                release(job)
                yield _done(ended)


def _may_be_transient(ended: Ended) -> bool:
    """Whether the same attempt might end well when it is made again."""
    if ended.result is not None:
        return ended.result.obstacle is not None
    return ended.end is not End.REFUSED


def _done(ended: Ended) -> Done:
    """The capture's end, from that of its last attempt."""
    if ended.result is not None and ended.result.obstacle is not None:
        raise MesofaceError(
            f"no result can be made: {ended.result.obstacle}",
            path=ended.job.job.out,
            remedy="mend that and go on with --resume; what was finished is kept",
        )
    return Done(ended.job.job, None if ended.result is None else ended.result.record, ended.error)
