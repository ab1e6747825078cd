"""How much of the relief that is missing a network finds, on squares that it never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.contact_sheet import contact_sheet, spread_out
from mesoface.lab.training.relief.pool import Square
from mesoface.relief.inputs import slopes
from mesoface.rendering.false_color import colorize

_TITLES = (
    "colour",
    "luminance, high-passed",
    "truth, lit",
    "answer, lit",
    "truth, height",
    "answer, same scale",
)
_LUMINANCE_LIMITS = (-3.0, 3.0)  # of the input channel, which is scaled to about 1
_STEEPNESS = 3.0  # shown slopes are exaggerated so many times
_LAMP = np.array([-0.5, -0.5, 0.7])  # from the upper left


@dataclass(frozen=True, eq=False)
class SquareAnswer:
    """What a network said of a square.

    Args:
        square: with the truth.
        relief: (n, n) texels.
        slope: mean length of the slopes' error.
        slope_missing: the same of predicting nothing.
    """

    square: Square
    relief: NDArray[np.float32]
    slope: float
    slope_missing: float


def figures(found: Sequence[SquareAnswer]) -> dict[str, float]:
    """How good answers are over all squares.

    Returns:
        ``slope_left``, the share of the missing slope that is still missing (1: as predicting nothing);
        ``worst_left``, the same of the square in the 90th percentile; ``slope`` and ``slope_missing``, mean
        lengths of the slopes' error and of the true slopes; ``correlation`` of the heights, texel by texel.
    """
    slope = np.array([answer.slope for answer in found])
    missing = np.array([answer.slope_missing for answer in found])
    said = np.concatenate([answer.relief[answer.square.valid] for answer in found]).astype(np.float64)
    true = np.concatenate([answer.square.relief[answer.square.valid] for answer in found]).astype(np.float64)
    spread = float(np.sqrt((said**2).sum() * (true**2).sum()))  # high-passed: their means are 0
    return {
        "slope_left": float(slope.sum() / max(missing.sum(), 1e-12)),
        "worst_left": float(np.percentile(slope / np.maximum(missing, 1e-6), 90)),
        "slope": float(slope.mean()),
        "slope_missing": float(missing.mean()),
        "correlation": float((said * true).sum() / spread) if spread > 0 else 0.0,
    }


def in_words(values: Mapping[str, float]) -> str:
    """:func:`figures` as a sentence."""
    return (
        f"{100 * values['slope_left']:.1f} % of the missing slope is left "
        f"(90th percentile of squares {100 * values['worst_left']:.0f} %), "
        f"heights correlate {values['correlation']:.3f}"
    )


def picture(found: Sequence[SquareAnswer]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a row for a square; colour, luminance, then truth and answer lit and as heights."""
    return contact_sheet(_TITLES, [_row(answer) for answer in spread_out(found)])


def _row(answer: SquareAnswer) -> list[NDArray[np.float64]]:
    square = answer.square
    truth = square.relief.astype(np.float32)
    deepest = max(float(np.percentile(np.abs(truth), 99)), 1e-3)
    heights = [np.where(square.valid, relief, np.nan) for relief in (truth, answer.relief)]
    return [
        square.color / 255.0,
        colorize(np.where(square.valid, square.maps[0], np.nan), _LUMINANCE_LIMITS, "gray"),
        *(
            colorize(np.where(square.valid, _lit(relief), np.nan), (0, 1), "gray")
            for relief in (truth, answer.relief)
        ),
        *(colorize(height, (-deepest, deepest), "balance") for height in heights),
    ]


def _lit(relief: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, n) brightness of matt, even relief in the light of one lamp."""
    along_columns, along_rows = slopes(relief * np.float32(_STEEPNESS))
    normal = np.stack([-along_columns, -along_rows, np.ones_like(relief)], -1)
    return np.clip(normal @ _LAMP / np.linalg.norm(normal, axis=-1), 0, 1)
