"""Time and memory of every stage, for ``run.json``, the report and the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mesoface.running.memory import peak_memory_mb


@dataclass(frozen=True)
class Stage:
    """One finished stage.

    Args:
        name: for messages and reports.
        seconds: wall time.
        peak_mb: highest resident memory of the process up to the stage's end, MB.
    """

    name: str
    seconds: float
    peak_mb: float


@dataclass
class StageClock:
    """Collects finished stages, in order."""

    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one stage."""
        start = time.perf_counter()
        yield
        self.stages.append(Stage(name, time.perf_counter() - start, peak_memory_mb()))

    @property
    def seconds(self) -> float:
        """Total of the stages' wall times."""
        return sum(stage.seconds for stage in self.stages)
