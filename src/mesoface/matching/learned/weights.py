"""The learned matcher's weights: those that come with mesoface, or a file of the user's."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from mesoface.checkpoints import WeightsError
from mesoface.matching.learned.matcher import LearnedMatcher
from mesoface.matching.learned.network import SurfaceMatcher
from mesoface.weights import read_weights

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
    network = SurfaceMatcher()
    if path is None:
        with as_file(files("mesoface") / "assets" / SHIPPED) as shipped:
            state = read_weights(shipped)
    else:
        state = read_weights(path)
    expected = network.state_dict()
    different = sorted(
        name
        for name in expected.keys() | state.keys()
        if name not in expected or name not in state or state[name].shape != expected[name].shape
    )
    if different:
        raise WeightsError(
            f"is not of the learned matcher: {', '.join(different[:4])} differ{'…' if different[4:] else ''}",
            path=path,
            remedy="train it with `mesoface train`, or leave out --weights",
        )
    network.load_state_dict(state)
    return LearnedMatcher(network, device=device, threads=threads, memory_mb=memory_mb)
