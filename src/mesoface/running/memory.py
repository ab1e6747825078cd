"""How much memory is available, limits of containers included, and how much a process has."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MB = 2**20
# glibc's names for what may be set (malloc.h), and what they are set to by keep_freed_memory, bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST_KEPT = 1 << 30, 1 << 28
# (limit, use) in a group's folder: cgroup v2, then v1
_COUNTERS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


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
