"""A process: its memory, the time of its stages, and settings that several threads change for a while.

Each thread that saves "the value before" and restores it saves another thread's value when two overlap. Here
the first thread to come changes a setting and the last one to leave restores it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import cv2

Value = TypeVar("Value")
_CGROUPS = Path("/sys/fs/cgroup")
_MB = 2**20
# glibc's names for what may be set (malloc.h), and what they are set to by keep_freed_memory, bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST_KEPT = 1 << 30, 1 << 28
# (limit, use) in a group's folder: cgroup v2, then v1
_COUNTERS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


class Shared(AbstractContextManager[Value], Generic[Value]):
    """A change to the process that all who are inside of the context share; re-entrant, for any thread.

    Args:
        change: makes the context manager that the first to enter enters, and the last to leave exits. All
            who enter get its value.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Value]]):
        self._change = change
        self._lock = threading.Lock()
        self._holders = 0

    def __enter__(self) -> Value:
        with self._lock:
            if not self._holders:
                self._entered = self._change()
                self._value = self._entered.__enter__()
            self._holders += 1
            return self._value

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._entered.__exit__(None, None, None)


@Shared
@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV uses one thread: for blocks that call it from threads of their own, or fork."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@Shared
@contextmanager
def no_native_logs() -> Iterator[None]:
    """What native code writes to file descriptor 2 is discarded, and so is what Python writes there."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr: nothing to keep quiet
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    yield
    os.dup2(saved, 2)
    os.close(saved)


@Shared
@contextmanager
def _torch() -> Iterator[int]:
    import torch

    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


_caught = Shared(warnings.catch_warnings)


@contextmanager
def ignored_warnings(category: type[Warning] = Warning) -> Iterator[None]:
    """Ignore warnings of ``category``, until the last thread has left a block of this function."""
    with _caught:
        warnings.simplefilter("ignore", category)
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes with ``count`` threads in the block, where this thread calls it.

    OpenMP keeps the number for each thread, so every thread sets it back for itself, to what it was before
    any thread was in such a block.
    """
    import torch

    with _torch as before:
        torch.get_num_threads()  # initialises this thread, which would otherwise undo the next line later
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def available_memory_mb() -> float | None:
    """Memory that is available without swapping, MB; None where the system does not say.

    The least of what the machine has left and of what the process's control groups still allow.
    """
    free = _field(Path("/proc/meminfo"), "MemAvailable:")
    left = [] if free is None else [free / 1024]
    left += [room for group in _groups() if (room := _room(group)) is not None]
    return min(left, default=None)


def resident_memory_mb(pid: int) -> float:
    """Resident memory of a process, MB; 0 when it has ended, or where the system does not say."""
    kilobytes = _field(Path(f"/proc/{pid}/status"), "VmRSS:")
    return 0.0 if kilobytes is None else kilobytes / 1024


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, MB; 0 where the system does not say (Windows)."""
    kilobytes = _field(Path("/proc/self/status"), "VmHWM:")
    if kilobytes is not None:
        return kilobytes / 1024
    if sys.platform == "win32":
        return 0.0
    import resource  # second choice: on Linux it also counts what the parent had when it started this process

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MB if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees, up to 1 GiB, for later allocations; for good.

    Where the same sizes are allocated again and again, as for each frame of a sequence, half of the time in
    the kernel is spent on returning and fetching the same pages. The price is a third more memory for a
    single capture, so single captures do not use it.

    Returns:
        whether the C library can do that; glibc can.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT))


def _groups(said: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> Iterator[Path]:
    """Folders of the control groups that limit the process's memory, the innermost first."""
    try:
        lines = said.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        top = root if number == "0" else root / "memory"
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _room(group: Path) -> float | None:
    """What a control group still allows, MB; pages that cache files can be reclaimed."""
    for limit, use in _COUNTERS:
        try:
            allowed, used = (group / limit).read_text().strip(), int((group / use).read_text())
        except OSError:
            continue
        if allowed == "max" or int(allowed) >= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            return None
        cached = _field(group / "memory.stat", "inactive_file") or 0
        return max(0.0, (int(allowed) - used + cached) / _MB)
    return None


def _field(file: Path, name: str) -> int | None:
    """The number after ``name`` in a file of lines that begin with names."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split(maxsplit=1)[:1] == [name]), None)


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
