"""``--engine ray``: attempts on the machines of a Ray cluster, which share a file system.

Ray only finds a machine with free cores and memory, and reports when that machine is lost. There, an attempt
runs in a process of its own, as it does locally, with the same time limit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mesoface.batch.engine import Ended, Engine
from mesoface.batch.job import Attempt, Made
from mesoface.errors import MesofaceError
from mesoface.running.workers import End, Outcome, Worker, prepare_workers

_AHEAD = 2  # attempts queued for each that can run at a time, so that no machine is idle
_START = "start a cluster with `ray start --head`, or use --engine local"


@dataclass(kw_only=True, eq=False)
class RayEngine(Engine):
    """Runs each attempt on some machine of a cluster.

    Args:
        address: of the cluster, as ``10.0.0.1:6379``; ``auto`` for the one that this machine belongs to.
        threads: cores that an attempt keeps busy.

    Raises:
        MesofaceError: Ray is not installed, there is no cluster, or none of its machines is large enough.
    """

    address: str
    threads: int

    def __post_init__(self) -> None:
        self._ray = _connected(self.address)
        self._largest_mb = self._find_largest()
        self._running: dict[Any, Attempt] = {}  # by the reference that Ray gives

    def has_room(self) -> bool:
        """Whether more attempts are needed to keep the cluster, at its present size, busy."""
        cores = self._call(lambda: self._ray.cluster_resources().get("CPU", 0.0))
        return len(self._running) < _AHEAD * max(1, int(cores // self.threads))

    def start(self, attempt: Attempt) -> None:
        """Hand an attempt over."""
        task = self._ray.remote(_attempt_in_process).options(
            num_cpus=self.threads,
            memory=int(min(self.need.mb, self._largest_mb) * 2**20),
            max_retries=0,  # the schedule repeats what was lost, and moves the claim
        )
        reference = self._call(lambda: task.remote(self.function, attempt, self.limit, tuple(self.preload)))
        self._running[reference] = attempt

    def wait(self, seconds: float) -> list[Ended]:
        """The attempts that have ended; returns after ``seconds`` if none has."""
        references = list(self._running)
        ready, _ = self._call(lambda: self._ray.wait(references, num_returns=1, timeout=seconds))
        return [self._outcome(reference) for reference in ready]

    def end_all(self) -> None:
        """Cancel the running attempts and leave the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def _outcome(self, reference: Any) -> Ended:
        """The result of an attempt, or the loss of its machine."""
        attempt = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            result, error, end = self._ray.get(reference)
            if result is not None and result.record is not None:
                self.need.measured(result.record["peak_mb"])
            return Outcome(attempt, result, error, end)
        except errors.RayTaskError as failure:  # in our own code, before the attempt's process started
            return Outcome(attempt, Made(None, f"a machine failed to start it ({_last_line(failure)})"), None)
        except errors.RayError as failure:
            return Outcome(attempt, None, f"its machine was lost ({type(failure).__name__})", End.LOST)

    def _find_largest(self) -> float:
        """Memory of the largest machine that has the cores, MB."""
        machines = [node["Resources"] for node in self._call(self._ray.nodes) if node["Alive"]]
        fitting = [m.get("memory", 0) / 2**20 for m in machines if m.get("CPU", 0) >= self.threads]
        if max(fitting, default=0) < self.need.mb:
            self._ray.shutdown()
            raise MesofaceError(
                f"none of the cluster's {len(machines)} machines has {self.threads} cores and "
                f"{self.need.mb:,.0f} MB of memory for a capture",
                remedy="use fewer --threads or a smaller --memory-per-capture, or larger machines",
            )
        return max(fitting)

    def _call(self, query: Callable[[], Any]) -> Any:
        """What a query of the cluster returns."""
        try:
            return query()
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise MesofaceError(
                f"the Ray cluster no longer responds ({_last_line(error)})",
                remedy="restart it and continue with --resume; finished results are kept",
            ) from error


def _attempt_in_process(
    function: Callable[[Attempt], Made], attempt: Attempt, limit: float | None, preload: Sequence[str]
) -> tuple[Made | None, str | None, End]:
    """What Ray runs on a machine: (result, error, end) of an attempt in a process of its own."""
    prepare_workers(preload)
    outcome = Worker(function, attempt, limit=limit).finish()
    return outcome.result, outcome.error, outcome.end


def _connected(address: str) -> Any:
    """The module ``ray``, connected to the cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else it reports its use over the network
    try:
        import ray
    except ImportError as error:
        raise MesofaceError(
            "--engine ray needs Ray, which is not installed", remedy="pip install 'mesoface[ray]'"
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise MesofaceError(f"no Ray cluster at {address} ({_last_line(error)})", remedy=_START) from error
    return ray


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
