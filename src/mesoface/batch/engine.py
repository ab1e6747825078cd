"""What runs attempts, on this machine or on a cluster, and how much memory an attempt needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mesoface.batch.job import Attempt, Made
from mesoface.running.workers import Outcome

Ended = Outcome[Attempt, Made]


class Engine(Protocol):
    """Runs attempts, several at a time; used as a context, which ends all of them when it is left."""

    def has_room(self) -> bool:
        """Whether one more attempt may be started now."""
        ...

    def start(self, attempt: Attempt) -> None:
        """Start an attempt."""
        ...

    def wait(self, seconds: float) -> Sequence[Ended]:
        """The attempts that have ended; comes back after ``seconds`` when none has."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...


FIRST_GUESS_MB = 3000.0
"""What a capture is taken to need until one has been measured: `--preset default` needs some 2500 MB."""

_RESERVE = 1.15  # captures differ; so much more than the largest so far
_AFTER_A_KILL = 1.5  # one that the system killed wanted more than it had reached


class MemoryNeed:
    """The largest peak so far, with a reserve.

    Args:
        peak_mb: of a capture that was measured before, MB; None where none was.
    """

    def __init__(self, peak_mb: float | None = None):
        self._measured = peak_mb is not None
        self.mb = FIRST_GUESS_MB if peak_mb is None else peak_mb * _RESERVE
        """What the next capture is taken to need, MB."""

    def measured(self, peak_mb: float) -> None:
        """A capture was done with this peak. The first one replaces the guess."""
        need = peak_mb * _RESERVE
        self.mb = max(self.mb, need) if self._measured else need
        self._measured = True

    def killed(self, seen_mb: float) -> None:
        """A capture died, perhaps for want of memory, when it had reached this much."""
        self.mb = max(self.mb, seen_mb * _AFTER_A_KILL)
