"""Seconds and memory of the learned matcher's parts, level by level, on a real capture.

    python benchmarks/parts.py --capture sample --threads 2

Every level starts from the fitted base mesh and nothing that the network says is used: what the parts cost
does not depend on their weights. Memory is what a part adds at most to what the process holds already, freed
memory that it keeps included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from memory import peak_memory
from prepared import CAPTURES, prepare
from rich.table import Table
from tables import make_console

from mesoface.matching.classical import ClassicalMatcher
from mesoface.matching.learned import SurfaceMatcher, network
from mesoface.matching.learned import matcher as learned
from mesoface.matching.learned.features import Features
from mesoface.matching.learned.matcher import LearnedMatcher
from mesoface.matching.learned.network import ImplicitFunction, Refinement, Regularizer
from mesoface.matching.matcher import LevelInput, Measurement, well_seen

# Where the matcher's code looks its parts up. None of them calls another.
PARTS: dict[str, tuple[Any, str]] = {
    "correlation": (ClassicalMatcher, "answer"),
    "photos": (learned, "resample_photo"),
    "features": (Features, "forward"),
    "sampling": (learned, "agreement_in_photos"),
    "description": (learned, "describe_points"),
    "implicit function": (ImplicitFunction, "forward"),
    "regulariser, first layer": (Regularizer, "begin"),
    "coarse": (Regularizer, "surroundings"),
    "last layer": (Regularizer, "settle"),
    "read-out": (network, "soft_argmin"),
    "refinement": (Refinement, "forward"),
}
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class Costs:
    """Seconds and memory of the parts of one level, by a clock that says seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.memory_mb = dict.fromkeys(PARTS, 0.0)
        self.all_seconds = 0.0

    def watched(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work``, whose time is added to the part's, and whose memory counts if it is the most."""

        def watch(*arguments: Any, **named: Any) -> Any:
            with peak_memory() as memory:
                start = self._clock()
                result = work(*arguments, **named)
                self.seconds[part] += self._clock() - start
            self.memory_mb[part] = max(self.memory_mb[part], memory.mb)
            return result

        return watch

    @contextmanager
    def watch_parts(self) -> Iterator[None]:
        """Watch the matcher's parts while the block runs."""
        with ExitStack() as stack:
            for part, (owner, name) in PARTS.items():
                stack.enter_context(patch.object(owner, name, self.watched(part, getattr(owner, name))))
            start = self._clock()
            yield
            self.all_seconds += self._clock() - start

    def row(self) -> list[str]:
        """One cell a part, then the time of all."""
        cells = [f"{self.seconds[part]:.2f} s, {self.memory_mb[part]:.0f} MB" for part in PARTS]
        return [*cells, f"{self.all_seconds:.2f} s"]


class WatchedMatcher:
    """The learned matcher, watched; the cascade is told that every level found its base."""

    presets = LearnedMatcher.presets

    def __init__(self, threads: int, clock: Callable[[], float]):
        self._clock = clock
        self._matcher = LearnedMatcher(SurfaceMatcher(), threads=threads)
        self.levels: dict[str, Costs] = {}

    def measure(self, start: LevelInput) -> Measurement:
        """See :class:`mesoface.matching.matcher.Matcher`."""
        level = start.level
        costs = self.levels[f"{level.size}² × {len(level.steps)}, reach {level.reach_mm:g} mm"] = Costs(
            self._clock
        )
        with costs.watch_parts():
            self._matcher.measure(start)
        return Measurement(np.zeros(start.space.valid.shape, np.float32), well_seen(start))


def main() -> None:
    """Run the cascade once and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capture", choices=CAPTURES, default="lps")
    parser.add_argument("--preset", choices=LearnedMatcher.presets, default="default")
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of all threads, for a machine that is busy"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    clock = CLOCKS[arguments.clock]
    matcher = WatchedMatcher(arguments.threads, clock)
    prepared = prepare(arguments.capture, arguments.views)
    prepared.match(matcher, "fast")  # once for what is compiled and loaded at the first use
    matcher.levels.clear()
    prepared.match(matcher, arguments.preset)
    table = Table(box=None, pad_edge=False)
    for name in ("level", *PARTS, "all"):
        table.add_column(name, justify="left" if name == "level" else "right", no_wrap=True)
    total = Costs(clock)
    for name, costs in matcher.levels.items():
        table.add_row(name, *costs.row())
        total.all_seconds += costs.all_seconds
        for part in PARTS:
            total.seconds[part] += costs.seconds[part]
            total.memory_mb[part] = max(total.memory_mb[part], costs.memory_mb[part])
    table.add_row("all", *total.row())
    make_console().print(table)


if __name__ == "__main__":
    main()
