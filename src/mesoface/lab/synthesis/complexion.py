"""A person's skin in a few numbers, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Complexion:
    """What makes one skin differ from another; all in [0, 1].

    Args:
        age: how deep the wrinkles are.
        melanin: from very light to dark skin.
        redness: how uneven the blood's colour is.
        freckles: how many.
        stubble: how dense a shaved beard.
        pores: how deep.
        hair: from black to fair brows.
        oil: how shiny.
    """

    age: float
    melanin: float
    redness: float
    freckles: float
    stubble: float
    pores: float
    hair: float
    oil: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Complexion:
        """A random person."""
        melanin = rng.beta(1.3, 2.2)
        return cls(
            age=rng.beta(1.6, 1.8),
            melanin=melanin,
            redness=rng.beta(2, 2),
            freckles=rng.beta(1, 2) * (1 - melanin),
            stubble=float(rng.uniform() < 0.5) * rng.uniform(0.2, 1),
            pores=rng.beta(2, 2),
            hair=rng.beta(1, 3) * (1 - melanin),
            oil=rng.beta(2, 3),
        )
