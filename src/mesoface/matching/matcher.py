"""What the cascade asks of a matcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mesoface.matching.levels import Level, LevelInput
from mesoface.uvd.visibility import SEEN

# Visibility from which a texel counts as well seen.
_WELL_SEEN = 0.35


@dataclass(frozen=True, eq=False)
class Measurement:
    """One level's answer.

    Args:
        displacement: (H, H) float32 mm, without gaps.
        weight: (H, H) float32, how much it is to be trusted; 0 where nothing was measured, 1 is good.
    """

    displacement: NDArray[np.float32]
    weight: NDArray[np.float32]


class Matcher(Protocol):
    """Finds the surface around one level's base."""

    @property
    def presets(self) -> Mapping[str, Sequence[Level]]:
        """The levels of ``fast``, ``default`` and ``best``."""
        ...

    def measure(self, start: LevelInput) -> Measurement:
        """The displacement of every texel from the base of one of this matcher's own levels."""
        ...


def well_seen(start: LevelInput) -> NDArray[np.float32]:
    """(H, H) in [0, 1]: 1 where two views see the texel well, less where all but one see it at a slant.

    0 outside of the facial mask and where fewer than two views see it at all.
    """
    seen = start.space.valid & ((start.visibility > SEEN).sum(0) >= 2)
    second_best = np.partition(start.visibility, -2, axis=0)[-2]
    return (seen * np.clip(second_best / _WELL_SEEN, 0, 1)).astype(np.float32)
