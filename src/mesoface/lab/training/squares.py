"""Which squares of a UV map are worth training on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Texels of a square whose truth is known, at least.
_LEAST_KNOWN = 0.4
# Chance of a flat square against one whose surface is tilted by a right angle to its base all over.
_FLAT = 0.08
# Chance that is left to a square which overlaps one that was chosen before.
_AGAIN = 0.05


def choose_squares(
    tilt: NDArray[np.float32], size: int, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw squares of a map, rather where the surface is rough than on a cheek, and rather side by side.

    Args:
        tilt: (H, W) angle of the true surface to its base, radians; NaN where the truth is not known.
        size: side of a square, texels of ``tilt``.
        count: of squares, at most: fewer where less is known.
        rng: of the choice.

    Returns:
        (row, column) of each square's first texel.
    """
    known = np.isfinite(tilt)
    share = _corner_means(known.astype(np.float32), size)
    chance = _FLAT + _corner_means(np.where(known, tilt, 0), size) / (np.pi / 2)
    chance[share < _LEAST_KNOWN] = 0
    squares: list[tuple[int, int]] = []
    while len(squares) < count and chance.any():
        pick = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
        row, column = divmod(pick, chance.shape[1])
        squares.append((row, column))
        half = size // 2
        chance[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] *= _AGAIN
    return squares


def _corner_means(values: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """(H - size + 1, W - size + 1) mean of the square that begins at each texel."""
    total = cv2.integral(values.astype(np.float64))
    box = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    return np.maximum(box, 0) / size**2
