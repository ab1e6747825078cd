"""The order of attempts: which capture is next, which is tried again, and when to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from mesoface.batch.claims import claim, release
from mesoface.batch.engine import Ended, Engine
from mesoface.batch.job import Attempt, CaptureJob
from mesoface.errors import MesofaceError
from mesoface.running.workers import End

_LOOK_AGAIN = 0.5  # s between two checks for room
_MOST_LOSSES = 10  # lost machines, after which a capture counts as failed

Listener = Callable[[Attempt], None]


def run_schedule(
    jobs: Sequence[CaptureJob], engine: Engine, *, retries: int, started: Listener | None = None
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
                yield _unobstructed(ended)


def _may_be_transient(ended: Ended) -> bool:
    """Whether the same attempt might succeed when it is repeated."""
    if ended.result is not None:
        return ended.result.obstacle is not None
    return ended.end is not End.REFUSED


def _unobstructed(ended: Ended) -> Ended:
    """The end of a capture's last attempt, unless something was in the way that is no capture's fault."""
    if ended.result is not None and ended.result.obstacle is not None:
        raise MesofaceError(
            f"no result can be made: {ended.result.obstacle}",
            path=ended.job.job.out,
            remedy="mend that and continue with --resume; finished results are kept",
        )
    return ended
