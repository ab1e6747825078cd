"""A picture of a few samples: a row for each, a titled column for each kind of map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Sample = TypeVar("Sample")

# Rows of a picture at most, its pixels for each map, and above each column of maps.
_SHOWN, _SIDE, _LINE = 6, 192, 20


def spread_out(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are shown: six at most, evenly of all."""
    return [samples[int(n)] for n in np.linspace(0, len(samples) - 1, min(_SHOWN, len(samples))).round()]


def contact_sheet(titles: Sequence[str], rows: Sequence[Sequence[NDArray]]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB.

    Args:
        titles: of the columns.
        rows: for each sample an image (h, w, 3) in [0, 1] for each column.
    """
    strips = [np.concatenate([_title(words) for words in titles], axis=1)]
    strips += [np.concatenate([_square(image) for image in row], axis=1) for row in rows]
    return np.round(np.concatenate(strips).clip(0, 1) * 255).astype(np.uint8)


def _title(words: str) -> NDArray[np.float64]:
    """``words`` above a column of the picture."""
    strip = np.ones((_LINE, _SIDE, 3))
    origin = (4, _LINE - 6)
    cv2.putText(strip, words, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0.15,) * 3, 1, cv2.LINE_AA)
    return strip


def _square(image: NDArray) -> NDArray[np.float64]:
    """``image`` fitted into a square of the picture, a white line around it."""
    height, width = image.shape[:2]
    inner = _SIDE - 4
    scale = inner / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(image.astype(np.float64), size, interpolation=cv2.INTER_NEAREST)
    square = np.ones((_SIDE, _SIDE, 3))
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = fitted
    return square
