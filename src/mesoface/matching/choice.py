"""Which matcher a name stands for."""

from __future__ import annotations

from pathlib import Path

from mesoface.errors import MesofaceError
from mesoface.matching.classical import ClassicalMatcher
from mesoface.matching.matcher import Matcher


def choose_matcher(
    name: str, weights: Path | None = None, *, device: str = "cpu", threads: int = 2, memory_mb: int = 1024
) -> Matcher:
    """The matcher called ``name``.

    Args:
        name: ``learned`` or ``ncc``.
        weights: of the learned one; None for those that come with mesoface.
        device: torch device.
        threads: of the CPU.
        memory_mb: for the learned one's volumes.

    Raises:
        MesofaceError: ``ncc`` was given weights, or the weights cannot be used.
    """
    if name == "ncc":
        if weights is not None:
            raise MesofaceError(
                "the ncc matcher learned nothing: it has no weights",
                path=weights,
                remedy="leave out --weights, or use --matcher learned",
            )
        return ClassicalMatcher(device, threads)
    from mesoface.matching.learned.matcher import load_matcher  # here, because torch takes seconds to import

    return load_matcher(weights, device=device, threads=threads, memory_mb=memory_mb)
