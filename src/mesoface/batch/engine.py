"""What runs attempts: processes of this machine, or a cluster. The schedule is the same for both."""

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
