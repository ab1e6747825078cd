"""How a head moves: smooth expressions and turns over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

EXPRESSIONS = 3
"""How many expressions a moving head goes through, one over the other."""
# Seconds that an expression takes to come and go, and between which it begins to.
_LASTS, _BEGINS = (0.8, 2.0), (0.0, 0.6)
# Standard deviations of the head's swing, and its period in seconds.
_TURN_DEG, _SHIFT_MM, _PERIOD = np.array([5.0, 3.5, 2.5]), np.array([4.0, 3.0, 3.0]), (1.5, 4.0)
# About where the head turns, in a face model's frame, mm: the top of the spine.
PIVOT = np.array([0.0, -60.0, -60.0])


@dataclass(frozen=True, eq=False)
class Pose:
    """What a head does at one moment.

    Args:
        weights: (K,) share of each of its other expressions.
        turn: (3, 3) rotation about :data:`PIVOT`.
        shift: (3,) mm.
    """

    weights: NDArray[np.float64]
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]


REST = Pose(np.zeros(0), np.eye(3), np.zeros(3))
"""The head as it was drawn."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A head's movement; at time 0 it is at rest.

    Expressions come and go as sin², each with a period of its own; the head swings about three axes.

    Args:
        periods: (K,) seconds.
        begins: (K,) seconds at which each expression first begins.
        strength: (K,) its weight when it is strongest.
        swing: (6,) amplitudes of turn (degrees, about y, x and z) and shift (mm, x, y, z).
        swing_periods: (6,) seconds.
    """

    periods: NDArray[np.float64]
    begins: NDArray[np.float64]
    strength: NDArray[np.float64]
    swing: NDArray[np.float64]
    swing_periods: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Motion:
        """A random one."""
        return cls(
            rng.uniform(*_LASTS, EXPRESSIONS),
            rng.uniform(*_BEGINS, EXPRESSIONS),
            rng.uniform(0.6, 1.0, EXPRESSIONS),
            rng.normal(0, 1, 6) * np.concatenate([_TURN_DEG, _SHIFT_MM]),
            rng.uniform(*_PERIOD, 6),
        )

    def at(self, seconds: float) -> Pose:
        """The head's pose at a time ≥ 0."""
        since = np.maximum(seconds - self.begins, 0)
        weights = self.strength * np.sin(np.pi * since / self.periods) ** 2
        swing = self.swing * np.sin(2 * np.pi * seconds / self.swing_periods)
        return Pose(weights, Rotation.from_euler("yxz", swing[:3], degrees=True).as_matrix(), swing[3:])
