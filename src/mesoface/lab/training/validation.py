"""How far a network is off on tiles that it never trained on: in millimetres, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.contact_sheet import contact_sheet, spread_out
from mesoface.lab.training.recipe import Recipe
from mesoface.lab.training.tile import Tile
from mesoface.rendering.false_color import colorize, percentile_limits
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.visibility import SEEN

# Texel sizes, mm, that are reported apart: levels that measure detail, and levels that find the face.
_FINE_MM, _COARSE_MM = 0.6, 1.5
# Share of the texels that the network is surest of, whose error is reported apart.
_SUREST = 0.8
_TITLES = ("photo", "truth, full reach", "answer, same scale", "error, 0 to 1 step", "confidence")


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network said of a tile.

    Args:
        tile: with the truth.
        displacement: (T, T) mm.
        confidence: (T, T), more is surer.
    """

    tile: Tile
    displacement: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(T, T) where the truth is known, within reach, and seen by two views at least."""
        truth = self.tile.truth
        with np.errstate(invalid="ignore"):
            within = np.abs(truth) <= self.tile.reach_mm
        return within & ((self.tile.visibility > SEEN).sum(0) >= 2)

    @property
    def error(self) -> NDArray[np.float32]:
        """(T, T) mm, NaN where the truth is not known."""
        return np.where(self.known, np.abs(self.displacement - self.tile.truth), np.nan).astype(np.float32)


def answers(
    recipe: Recipe, tiles: Sequence[Tile], stopped: Callable[[], bool], progress: ProgressCallback = silent
) -> list[Answer] | None:
    """What the network says of each tile; None when it was ``stopped`` before the last one."""
    found: list[Answer] = []
    for tile in tiles:
        if stopped():
            return None
        progress("validation", len(found), len(tiles))
        found.append(Answer(tile, *recipe.predict(tile)))
    progress("validation", len(found), len(tiles))
    return found


def figures(found: Sequence[Answer]) -> dict[str, float]:
    """Mean and median error over all known texels, and of parts of them; NaN where there are none.

    Returns:
        ``mean_mm``, ``median_mm``, ``mean_steps``; ``surest_mm`` of the 80 % that the network is surest of
        (ranked in each tile), ``fine_mm`` and ``coarse_mm`` of tiles with small and large texels, and
        ``unmeasured_mm``, the error of a displacement of zero.
    """
    errors = [answer.error[answer.known] for answer in found]
    steps = [error / answer.tile.step_mm for error, answer in zip(errors, found, strict=True)]
    surest = [error[_surest(answer)] for error, answer in zip(errors, found, strict=True)]
    texels = [answer.tile.texel_mm for answer in found]
    return {
        "mean_mm": _mean(errors),
        "median_mm": float(np.median(np.concatenate(errors))) if any(map(len, errors)) else float("nan"),
        "mean_steps": _mean(steps),
        "surest_mm": _mean(surest),
        "fine_mm": _mean([error for error, size in zip(errors, texels, strict=True) if size < _FINE_MM]),
        "coarse_mm": _mean([error for error, size in zip(errors, texels, strict=True) if size > _COARSE_MM]),
        "unmeasured_mm": _mean([np.abs(answer.tile.truth[answer.known]) for answer in found]),
    }


def in_words(values: Mapping[str, float]) -> str:
    """:func:`figures` as a sentence."""
    return (
        f"error mean {values['mean_mm']:.4f} mm, median {values['median_mm']:.4f} mm, "
        f"{values['mean_steps']:.3f} steps; surest 80 % {values['surest_mm']:.4f} mm; "
        f"fine {values['fine_mm']:.4f} mm (unmeasured {values['unmeasured_mm']:.4f} mm)"
    )


def picture(found: Sequence[Answer]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a row for a tile; its best view, truth, answer, error in steps, confidence.

    Truth and answer share a scale, blue to red over what is searched; the error goes from black to white over
    one step.
    """
    return contact_sheet(_TITLES, [_row(answer) for answer in spread_out(found)])


def _row(answer: Answer) -> list[NDArray[np.float64]]:
    reach = (-answer.tile.reach_mm, answer.tile.reach_mm)
    best = int(answer.tile.visibility.sum((1, 2)).argmax())
    return [
        answer.tile.images[best].astype(np.float64),
        colorize(np.where(answer.known, answer.tile.truth, np.nan), reach, "balance"),
        colorize(answer.displacement, reach, "balance"),
        colorize(answer.error / answer.tile.step_mm, (0.0, 1.0), "magma"),
        colorize(answer.confidence, percentile_limits(answer.confidence), "viridis"),
    ]


def _surest(answer: Answer) -> NDArray[np.bool_]:
    """Which of the known texels, as a list, are among the 80 % of the highest confidence."""
    confidence = answer.confidence[answer.known]
    kept = np.zeros(len(confidence), bool)
    kept[np.argsort(-confidence, kind="stable")[: round(_SUREST * len(confidence))]] = True
    return kept


def _mean(parts: Sequence[NDArray]) -> float:
    count = sum(map(len, parts))
    return float(sum(part.sum(dtype=np.float64) for part in parts) / count) if count else float("nan")
