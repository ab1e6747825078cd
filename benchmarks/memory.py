"""Peak memory of a part of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")


@dataclass
class Peak:
    """Filled in when the block that is watched ends.

    Args:
        mb: how much resident memory rose above what it was, at most, MB; NaN where the system cannot tell.
    """

    mb: float = float("nan")


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Watch a block: how much memory did it need beside what was there before? Linux only."""
    peak = Peak()
    if not (_SELF / "clear_refs").exists():
        yield peak
        return
    (_SELF / "clear_refs").write_text("5")  # proc(5): sets the highest resident size back to the present one
    before = _status_mb("VmRSS")
    yield peak
    peak.mb = _status_mb("VmHWM") - before


def _status_mb(name: str) -> float:
    lines = (_SELF / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024
