"""Skin relief at the scale of texels, drawn at random: what is there, and what a matcher measures of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.patches.fields import spots, waves, wrinkles
from mesoface.lab.training.patches.scale import log_uniform


@dataclass(frozen=True, eq=False)
class Relief:
    """A square of skin.

    Args:
        height: (n, n) over a smooth ground, texels.
        pore: (n, n) 0…1, how deep in a pore.
        furrow: (n, n) 0…1, how deep in a wrinkle.
        cavity: (n, n) 0…1, how far below its surroundings.
    """

    height: NDArray[np.float32]
    pore: NDArray[np.float32]
    furrow: NDArray[np.float32]
    cavity: NDArray[np.float32]


def draw_relief(rng: np.random.Generator, n: int) -> Relief:
    """From nearly smooth to rough: waves of a power law, and often wrinkles, pores or bumps."""
    field = waves(rng, n, shortest=rng.uniform(2, 5), longest=n, slope=rng.uniform(2.2, 5))
    height = field * np.float32(log_uniform(rng, 0.01, 0.2) / _rms_slope(field))
    pore, furrow = np.zeros_like(height), np.zeros_like(height)
    if rng.uniform() < 0.45:
        spacing = log_uniform(rng, 3, 40)
        width = max(spacing * rng.uniform(0.06, 0.2), 0.7)
        for _ in range(1 + int(rng.uniform() < 0.5)):
            furrow = np.maximum(furrow, wrinkles(rng, n, spacing=spacing, width=width))
        furrow = cv2.GaussianBlur(furrow, (0, 0), 0.5)
        height = height - width * log_uniform(rng, 0.05, 0.45) * furrow
    if rng.uniform() < 0.45:
        sigma = log_uniform(rng, 0.8, 2.5)
        pore = np.clip(spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.005, 0.06)), 0, 1)
        height = height - sigma * log_uniform(rng, 0.05, 0.4) * pore
    if rng.uniform() < 0.25:
        sigma = log_uniform(rng, 1.2, 8)
        bump = spots(rng, n, sigma=sigma, density=log_uniform(rng, 0.002, 0.03))
        height = height + sigma * log_uniform(rng, 0.05, 0.35) * bump
    if rng.uniform() < 0.3:
        height = height + _crease(rng, n)
    depth = cv2.GaussianBlur(height, (0, 0), rng.uniform(2, 6)) - height
    cavity = np.clip(depth / np.float32(log_uniform(rng, 0.08, 0.6)), 0, 1)
    return Relief(height.astype(np.float32), pore.astype(np.float32), furrow.astype(np.float32), cavity)


def _crease(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(n, n) texels, along a curve: a rounded step as at a nose wing, or a groove as between lips."""
    field = waves(rng, n, shortest=n / 2, longest=2 * n, slope=3)
    # The field's own slope makes a distance of it; smoothed, or the grid that it was drawn on would show.
    slope = cv2.GaussianBlur(np.hypot(*np.gradient(field)), (0, 0), n / 16)
    distance = field / np.maximum(slope, 0.3 * _rms_slope(field))
    width, steepness = np.float32(log_uniform(rng, 1.2, 8)), np.float32(rng.uniform(0.1, 0.8))
    if rng.uniform() < 0.5:
        return width * steepness * np.tanh(distance / width)
    return -width * steepness * np.exp(-((distance / width) ** 2))


def measured(relief: Relief, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, n) the height as a matcher measures it: smoothed over its window, and with smooth errors."""
    n = len(relief.height)
    blurred = cv2.GaussianBlur(relief.height, (0, 0), log_uniform(rng, 1.8, 7))
    error = waves(rng, n, shortest=log_uniform(rng, 5, 14), longest=n, slope=rng.uniform(1.5, 4))
    return blurred + error * np.float32(log_uniform(rng, 0.008, 0.15) / _rms_slope(error))


def _rms_slope(field: NDArray[np.float32]) -> float:
    """Root mean square of the gradient's length, per texel."""
    return float(np.sqrt(np.mean(np.diff(field, axis=0) ** 2) + np.mean(np.diff(field, axis=1) ** 2)))
