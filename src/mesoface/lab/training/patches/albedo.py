"""The colour of a patch of skin: two pigments at every scale, spots, hairs, borders of lips and brows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.lab.synthesis.pigment import skin_albedo
from mesoface.lab.training.patches.fields import hairs, spots, waves
from mesoface.lab.training.patches.scale import log_uniform
from mesoface.lab.training.patches.surface import SAMPLES


def draw_albedo(rng: np.random.Generator, cavity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw the colour of a patch: from evenly coloured to freckled or hairy.

    Args:
        rng: source of chance.
        cavity: (n, n) from 0 on even skin to 1 in the depth of pits.

    Returns:
        (n, n, 3) linear RGB in [0, 1].
    """
    n = len(cavity)
    dark = rng.beta(1.3, 2.2)
    melanin = 0.10 + 2.8 * dark**1.6
    m = melanin * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    h = rng.uniform(0.25, 0.5) * (1 + _unevenness(rng, n, log_uniform(rng, 0.01, 0.5)))
    if rng.uniform() < 0.7:
        m += rng.uniform(0, 0.8) * cavity
    if rng.uniform() < 0.3:  # freckles and moles
        sigma = log_uniform(rng, 0.6, 5) * SAMPLES
        strength = log_uniform(rng, 0.05, 0.9) * (0.5 + melanin)
        m += strength * np.minimum(spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.002, 0.05)), 1.5)
    if rng.uniform() < 0.15:
        m, h = _add_region(rng, m, h)
    albedo = skin_albedo(np.maximum(m, 0), np.maximum(h, 0))
    if rng.uniform() < 0.15:
        cover = hairs(
            rng,
            n,
            width=rng.uniform(0.3, 1.2) * SAMPLES,
            length=log_uniform(rng, 3, 30) * SAMPLES,
            density=log_uniform(rng, 0.3, 6),
        )
        cover = rng.uniform(0.3, 1) * cover[..., None]
        albedo += cover * (rng.uniform(0.01, 0.15) * np.array([1.3, 1.0, 0.8]) - albedo)
    return albedo.astype(np.float32)


def _unevenness(rng: np.random.Generator, n: int, contrast: float) -> NDArray[np.float32]:
    """(n, n) of zero mean; from patches of the whole square down to a texel."""
    shortest = SAMPLES * log_uniform(rng, 1.0, 4.0)
    return np.float32(contrast) * waves(rng, n, shortest=shortest, longest=n, slope=rng.uniform(1.0, 3.2))


def _add_region(
    rng: np.random.Generator, m: NDArray[np.float32], h: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Another colour on one side of a clear border: lips, a brow, a scar."""
    n = len(m)
    field = waves(rng, n, shortest=n / 4, longest=n, slope=3)
    inside = (field > rng.uniform(-0.5, 0.8)).astype(np.float32)
    inside = cv2.GaussianBlur(inside, (0, 0), log_uniform(rng, 0.5, 5) * SAMPLES)
    if rng.uniform() < 0.5:
        return m, h + log_uniform(rng, 0.05, 0.8) * inside
    return m + rng.uniform(-0.4, 1.0) * inside * m, h
