"""What runs attempts, how much memory an attempt needs, and ``--engine local``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Self

from mesoface.batch.job import Attempt, Made
from mesoface.running.process import available_memory_mb, resident_memory_mb
from mesoface.running.workers import End, Outcome, Worker, prepare_workers

Ended = Outcome[Attempt, Made]
FIRST_GUESS_MB = 3000.0
"""Assumed need of a capture until one has been measured: `--preset default` needs some 2500 MB."""

_RESERVE = 1.15  # captures differ: this factor over the largest so far
_AFTER_A_KILL = 1.5  # a process that the system killed was still growing


class MemoryNeed:
    """The largest peak so far, with a reserve.

    Args:
        peak_mb: of a capture that was measured before, MB; None where none was.
    """

    def __init__(self, peak_mb: float | None = None):
        self._measured = peak_mb is not None
        self.mb = FIRST_GUESS_MB if peak_mb is None else peak_mb * _RESERVE
        """Assumed need of the next capture, MB."""

    def measured(self, peak_mb: float) -> None:
        """Count a capture that was done with this peak; the first one replaces the guess."""
        need = peak_mb * _RESERVE
        self.mb = max(self.mb, need) if self._measured else need
        self._measured = True

    def killed(self, seen_mb: float) -> None:
        """Count a capture whose process died, perhaps out of memory, at this size."""
        self.mb = max(self.mb, seen_mb * _AFTER_A_KILL)


@dataclass(kw_only=True, eq=False)
class Engine(ABC):
    """Runs attempts, several at a time, each in a process of its own; leaving its context ends all of them.

    Args:
        function: runs an attempt; of a module that all machines have, as it is pickled by name.
        need: memory of a capture; updated when attempts end.
        limit: seconds that an attempt may take.
        preload: modules that the processes load first.
    """

    function: Callable[[Attempt], Made] = field(kw_only=False)
    need: MemoryNeed
    limit: float | None = None
    preload: Sequence[str] = ()

    @abstractmethod
    def has_room(self) -> bool:
        """Whether one more attempt may be started now."""

    @abstractmethod
    def start(self, attempt: Attempt) -> None:
        """Start an attempt."""

    @abstractmethod
    def wait(self, seconds: float) -> Sequence[Ended]:
        """The attempts that have ended; returns after ``seconds`` if none has."""

    @abstractmethod
    def end_all(self) -> None:
        """End the running attempts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end_all()


_LONGEST_SLEEP = 0.5  # s between looks at the memory of what runs


@dataclass(kw_only=True, eq=False)
class LocalEngine(Engine):
    """Runs each attempt in a process of its own.

    An attempt is started if its memory is free: the largest peak measured so far, plus the growth expected of
    the running ones, must fit. One always runs. When the system kills an attempt that ran out of memory, a
    higher need is assumed from then on, so fewer run at a time.

    Args:
        workers: most attempts at a time.
    """

    workers: int

    def __post_init__(self) -> None:
        self._running: dict[Worker[Attempt, Made], float] = {}  # with the largest memory seen, MB
        prepare_workers(self.preload)

    def has_room(self) -> bool:
        """Whether a process and its memory are free."""
        if not self._running:
            return True
        free = available_memory_mb()
        if len(self._running) >= self.workers or free is None:
            return len(self._running) < self.workers
        growing = sum(max(0.0, self.need.mb - resident_memory_mb(w.pid)) for w in self._running)
        return self.need.mb + growing <= free

    def start(self, attempt: Attempt) -> None:
        """Start an attempt in a fresh process."""
        self._running[Worker(self.function, attempt, limit=self.limit)] = 0.0

    def wait(self, seconds: float) -> list[Ended]:
        """The attempts that have ended; returns after ``seconds`` if none has."""
        remaining = (worker.remaining() for worker in self._running)
        longest = min([seconds, _LONGEST_SLEEP, *(time for time in remaining if time is not None)])
        ready = connection.wait([worker.answer for worker in self._running], longest)
        for worker, most in self._running.items():
            self._running[worker] = max(most, resident_memory_mb(worker.pid))
        over = [w for w in self._running if w.answer in ready or w.remaining() == 0]
        return [self._finish(worker) for worker in over]

    def end_all(self) -> None:
        """End the running attempts."""
        for worker in self._running:
            worker.kill()

    def _finish(self, worker: Worker[Attempt, Made]) -> Ended:
        """How an attempt ended; its memory updates the need."""
        seen = self._running.pop(worker)
        ended = worker.finish()
        if ended.result is not None and ended.result.record is not None:
            self.need.measured(ended.result.record["peak_mb"])
        elif ended.end is End.DIED:
            self.need.killed(seen)
        return ended
