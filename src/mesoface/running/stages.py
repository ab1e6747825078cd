"""Time and memory of every stage, for ``run.json``, the report and the benchmarks."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One finished stage.

    Args:
        name: for people.
        seconds: wall time.
        peak_mb: highest resident memory of the process up to the stage's end, MB.
    """

    name: str
    seconds: float
    peak_mb: float


@dataclass
class StageClock:
    """Collects the stages in their order."""

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


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would also count what the parent held when it started this process.
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if line is not None:
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
