"""The learned matcher's weights: those that come with mesoface, or a file of the user's."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from mesoface.files.weights import load_network
from mesoface.matching.learned.matcher import LearnedMatcher
from mesoface.matching.learned.network import SURFACE_MATCHER, SurfaceMatcher

SHIPPED = "surface_matcher.safetensors"


def load_matcher(
    path: Path | None = None, *, device: str = "cpu", threads: int = 2, memory_mb: int = 1024
) -> LearnedMatcher:
    """A matcher with its weights.

    Args:
        path: a safetensors file, as ``mesoface train regularizer`` writes it; None for the shipped one.
        device: see :class:`LearnedMatcher`.
        threads: see there.
        memory_mb: see there.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    with as_file(files("mesoface") / "assets" / SHIPPED) as shipped:
        network = load_network(path or shipped, SURFACE_MATCHER)
    assert isinstance(network, SurfaceMatcher)
    return LearnedMatcher(network, device=device, threads=threads, memory_mb=memory_mb)
