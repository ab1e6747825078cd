"""How a training ends: by a signal, and in several processes together; none of them outlives the first.

A process that waits for one that is gone would wait for half an hour, or for good on GPUs. So an error in any
of them becomes the error of all, and the first one reports it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from subprocess import Popen
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed

from mesoface.errors import MesofaceError
from mesoface.lab.training.config import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LONGEST = 2048  # bytes of an error's message that travel to the other processes
_LOOK_EVERY = 1.0  # s between two looks whether the first process is still there
_LONGEST_WORK = timedelta(days=30)  # of the first process alone
_DEATH_SHOWS = 2.0  # s after which a process whose connection broke is known to be gone

Result = TypeVar("Result")


class StopRequest:
    """In its block the first Ctrl-C or SIGTERM is remembered; a second Ctrl-C interrupts as usual."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        return self._asked

    def __enter__(self) -> StopRequest:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._remember) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True


class Processes:
    """What the processes of a training agree on; with a single one all of it costs nothing.

    Args:
        fabric: launched.
    """

    def __init__(self, fabric: Fabric):
        self._fabric = fabric
        self.count, self.rank = fabric.world_size, fabric.global_rank
        if self.rank:
            threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process, so that all of them do the same."""
        if self.count == 1:
            return flag
        gathered = self._fabric.all_gather(torch.tensor(flag, device=self._fabric.device))
        return bool(torch.as_tensor(gathered).any())

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the processes, the same in all of them."""
        if self.count == 1:
            return values
        local = torch.tensor(list(values.values()), dtype=torch.float64, device=self._fabric.device)
        return dict(zip(values, torch.as_tensor(self._fabric.all_reduce(local)).tolist(), strict=True))

    def together(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns in this process; all processes call this at the same time.

        Raises:
            MesofaceError: ``work`` raised it here, or in another process, which is then named.
        """
        if self.count == 1:
            return work()
        failure: MesofaceError | None = None
        try:
            result = work()
        except MesofaceError as error:
            failure = error
        if not self.any(failure is not None):
            return result
        messages = self._gathered(str(failure or ""))
        if failure is not None:
            raise failure
        rank, message = next((rank, message) for rank, message in enumerate(messages) if message)
        raise TrainingError(f"process {rank} of {self.count}: {message}")

    def first(self, work: Callable[[], None]) -> None:
        """``work`` in the first process; the others wait, however long it takes.

        Raises:
            MesofaceError: ``work`` raised it.
        """
        failure: MesofaceError | None = None
        waiting = None
        if self.count > 1:
            waiting = torch.distributed.new_group(timeout=_LONGEST_WORK, backend="gloo")
        if self.rank == 0:
            try:
                work()
            except MesofaceError as error:
                failure = error
        if waiting is not None:
            torch.distributed.barrier(waiting)

        def say() -> None:
            if failure is not None:
                raise failure

        self.together(say)

    def _gathered(self, message: str) -> list[str]:
        """The messages of all processes."""
        code = message.encode()[:_LONGEST]
        padded = torch.zeros(_LONGEST, dtype=torch.uint8, device=self._fabric.device)
        padded[: len(code)] = torch.tensor(list(code), dtype=torch.uint8)
        rows = torch.as_tensor(self._fabric.all_gather(padded)).cpu().reshape(self.count, -1)
        return [bytes(row.tolist()).rstrip(b"\0").decode(errors="ignore") for row in rows]


def end_helpers(fabric: Fabric) -> None:
    """End the processes that this one started and that still run: they cannot train alone."""
    for process in _helpers(fabric):
        process.kill()
        process.wait()


def lost_helper(fabric: Fabric) -> str | None:
    """A description of the process that this one started and that died; None when all run."""
    end = time.monotonic() + _DEATH_SHOWS
    while helpers := _helpers(fabric):
        for rank, process in enumerate(helpers, 1):
            if process.poll():
                code = process.returncode
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return f"process {rank} of {len(helpers) + 1} ended with {how}"
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return None


def _helpers(fabric: Fabric) -> list[Popen]:
    """The processes that Fabric's launcher started from this one, by rank; none where others start them."""
    return getattr(fabric.strategy.launcher, "procs", [])


def _end_with(parent: int) -> None:
    """End this process when the one that started it was killed."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)
