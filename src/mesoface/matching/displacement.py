"""From scores over D to one displacement per texel, and its robust smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.uvd.maps import blur_masked


@dataclass(frozen=True, eq=False)
class Peak:
    """The best displacement of every texel.

    Args:
        displacement: (H, W) float32 mm, sub-step.
        score: (H, W) float32 score there.
        interior: (H, W) whether the best step is not the first or last one.
    """

    displacement: NDArray[np.float32]
    score: NDArray[np.float32]
    interior: NDArray[np.bool_]


def find_peak(scores: NDArray[np.float32], steps: NDArray[np.float64]) -> Peak:
    """Best step of each texel, refined by the parabola through it and its neighbours.

    Args:
        scores: (D, H, W), D ≥ 3.
        steps: (D,) equally spaced displacements, mm.
    """
    best = scores.argmax(0)
    middle = np.clip(best, 1, len(steps) - 2)
    before, at, after = (np.take_along_axis(scores, (middle + k)[None], 0)[0] for k in (-1, 0, 1))
    bend = before - 2 * at + after  # negative at a maximum
    curved = bend < -1e-6
    offset = np.where(curved, 0.5 * (before - after) / np.where(curved, bend, -1), 0)
    offset = np.clip(offset, -1, 1)
    step = steps[1] - steps[0]
    displacement = (steps[0] + (middle + offset) * step).astype(np.float32)
    score = np.take_along_axis(scores, best[None], 0)[0]
    return Peak(displacement, score, (best > 0) & (best < len(steps) - 1))


def fill_by_confidence(
    displacement: NDArray[np.float32], confidence: NDArray[np.float32], stiffness: float
) -> NDArray[np.float32]:
    """Weigh each texel's own measurement against the mean of ever larger surroundings (pull–push).

    Where the confidence is far above ``stiffness`` the measurement stands; where it is far below, the
    next coarser mean takes its place, and so on up to the mean of the whole face.

    Args:
        displacement: (H, W) mm.
        confidence: (H, W) ≥ 0.
        stiffness: confidence at which a texel and its surroundings count the same.
    """
    pyramid = [(displacement * confidence, confidence)]
    while min(pyramid[-1][1].shape) > 2:
        half = tuple((n + 1) // 2 for n in reversed(pyramid[-1][1].shape))
        soft = (cv2.GaussianBlur(level, (5, 5), 1.0) for level in pyramid[-1])
        pyramid.append(tuple(cv2.resize(level, half, interpolation=cv2.INTER_AREA) for level in soft))
    weighted, weight = pyramid[-1]
    out = np.full_like(weight, weighted.sum() / max(float(weight.sum()), 1e-12))
    for weighted, weight in reversed(pyramid):
        coarse = cv2.resize(out, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        out = (weighted + stiffness * coarse) / (weight + stiffness)
    return out


def smooth_robustly(
    displacement: NDArray[np.float32],
    confidence: NDArray[np.float32],
    valid: NDArray[np.bool_],
    *,
    stiffness: float,
    sigma: float,
    scale_mm: float,
    iterations: int = 3,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Confidence-weighted smoothing that outliers do not pull.

    Iteratively re-weighted: a texel that lies far from its smoothed surroundings (Geman–McClure, scale
    ``scale_mm``) loses its weight and is filled from around.

    Args:
        displacement: (H, W) mm.
        confidence: (H, W) ≥ 0; 0 where nothing was measured.
        valid: (H, W) the facial mask.
        stiffness: see :func:`fill_by_confidence`.
        sigma: standard deviation of the final Gaussian, texels.
        scale_mm: distance from the surroundings at which a texel keeps a quarter of its weight.
        iterations: re-weightings.

    Returns:
        smoothed displacement (H, W) and the weights (H, W) that remained.
    """
    everywhere = np.ones_like(valid)
    weight = confidence
    smooth = displacement
    for _ in range(iterations):
        smooth = fill_by_confidence(displacement, weight, stiffness)
        smooth = blur_masked(smooth, everywhere, sigma)
        weight = confidence / (1 + ((displacement - smooth) / scale_mm) ** 2) ** 2
    return smooth, blur_masked(weight, valid, sigma)
