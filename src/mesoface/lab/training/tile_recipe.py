"""What the recipes of all matching networks share: tiles, answers and their figures, and the bar to clear.

A matching network answers a tile with a displacement and a confidence for each texel. The bar that it has to
clear is the classical matcher's answer to the same tile, which is also what ours starts from.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera
from mesoface.lab.training.config import MatchingConfig, RunConfig
from mesoface.lab.training.data import TileSamples, validation_tiles
from mesoface.lab.training.log import Log
from mesoface.lab.training.tile import Tile, write_tiles
from mesoface.lab.training.validation import contact_sheet
from mesoface.matching.classical import PRESETS, ClassicalAnswer, ClassicalMatcher
from mesoface.matching.matcher import LevelInput
from mesoface.rendering.false_color import colorize, percentile_limits
from mesoface.running.progress import ProgressCallback
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import SEEN

# Side of a facial mask, mm: a level of so many texels has texels of this over their number.
_FACE_MM = 210.0
# Texel sizes, mm, that are reported apart: levels that measure detail, and levels that find the face.
_FINE_MM, _COARSE_MM = 0.6, 1.5
# Share of the texels that the network is surest of, whose error is reported apart.
_SUREST = 0.8
_TITLES = ("photo", "truth, full reach", "answer, same scale", "error, 0 to 1 step", "confidence")


@dataclass(frozen=True, eq=False)
class TileAnswer:
    """A network's answer to a tile.

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


def figures(found: Sequence[TileAnswer]) -> dict[str, float]:
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


def in_words(values: Mapping[str, float]) -> tuple[str, str]:
    """:func:`figures` as a sentence, and the mean error in a few words."""
    sentence = (
        f"error mean {values['mean_mm']:.4f} mm, median {values['median_mm']:.4f} mm, "
        f"{values['mean_steps']:.3f} steps; surest 80 % {values['surest_mm']:.4f} mm; "
        f"fine {values['fine_mm']:.4f} mm (unmeasured {values['unmeasured_mm']:.4f} mm)"
    )
    return sentence, f"error {values['mean_mm']:.4f} mm"


def picture(found: Sequence[TileAnswer]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a row for a tile; its best view, truth, answer, error in steps, confidence.

    Truth and answer share a scale, blue to red over what is searched; the error goes from black to white over
    one step.
    """
    return contact_sheet(_TITLES, found, _row)


def _row(answer: TileAnswer) -> list[NDArray[np.float64]]:
    reach = (-answer.tile.reach_mm, answer.tile.reach_mm)
    best = int(answer.tile.visibility.sum((1, 2)).argmax())
    return [
        answer.tile.images[best].astype(np.float64),
        colorize(np.where(answer.known, answer.tile.truth, np.nan), reach, "balance"),
        colorize(answer.displacement, reach, "balance"),
        colorize(answer.error / answer.tile.step_mm, (0.0, 1.0), "magma"),
        colorize(answer.confidence, percentile_limits(answer.confidence), "viridis"),
    ]


def _surest(answer: TileAnswer) -> NDArray[np.bool_]:
    """Which of the known texels, as a list, are among the 80 % of the highest confidence."""
    confidence = answer.confidence[answer.known]
    kept = np.zeros(len(confidence), bool)
    kept[np.argsort(-confidence, kind="stable")[: round(_SUREST * len(confidence))]] = True
    return kept


def _mean(parts: Sequence[NDArray]) -> float:
    count = sum(map(len, parts))
    return float(sum(part.sum(dtype=np.float64) for part in parts) / count) if count else float("nan")


def classical_answer(tile: Tile) -> ClassicalAnswer:
    """One pass of the classical matcher, with the windows of the cascade's level of the same texel size."""
    views = tuple(
        View(str(v), image.astype(np.float32), _camera(projection, image.shape[1], image.shape[0]))
        for v, (image, projection) in enumerate(zip(tile.images, tile.projections, strict=True))
    )
    space = UVDSpace(tile.position, tile.normal, np.ones(tile.truth.shape, bool))
    like = min(PRESETS["best"], key=lambda level: abs(math.log(_FACE_MM / level.size / tile.texel_mm)))
    level = replace(like, size=tile.truth.shape[0], reach_mm=tile.reach_mm, step_mm=tile.step_mm)
    start = LevelInput(level, space, views, tile.visibility, np.ones(space.valid.shape, np.float32))
    return ClassicalMatcher(threads=1).answer(start)


def _camera(projection: NDArray[np.float64], width: int, height: int) -> Camera:
    """The camera of a (3, 4) projection."""
    K, R, center, *_ = cv2.decomposeProjectionMatrix(projection)
    K = K / K[2, 2]
    K[1, 0] = 0.0  # up to rounding already
    return Camera(K, R, -R @ (center[:3, 0] / center[3, 0]), width, height)


class TileRecipe(ABC):
    """The part of a :class:`~mesoface.lab.training.recipe.Recipe` that all matching networks share.

    A network's own recipe defines how a tile is prepared, what its loss is and how its answer is read.
    """

    network: nn.Module
    name: str = "surface_matcher"
    at_a_time: int = 1
    """Tiles differ in size and views."""

    @abstractmethod
    def prepare(self, tile: Tile, rng: np.random.Generator) -> Tile:
        """The tile as training sees it (augmentation). Runs in loader processes, away from the network."""

    @abstractmethod
    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and its parts for the log, of a tile that was prepared."""

    @abstractmethod
    def predict(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(T, T) displacement in mm, and (T, T) confidence in any monotonous measure: more is surer."""

    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def open_data(self, config: RunConfig) -> TileSamples:
        """See :class:`~mesoface.lab.training.recipe.Recipe`."""
        workers = config.machine.workers
        return TileSamples(config.data, config.seed, self.prepare, lanes=config.batch, workers=workers)

    def open_unseen(self, config: RunConfig, progress: ProgressCallback) -> list[Tile]:
        """Evenly of all sources, and spread over each."""
        wanted = cast(MatchingConfig, config).validation
        return validation_tiles(wanted.sources, wanted.tiles, progress)

    def batch_loss(
        self, samples: Sequence[Tile], rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """:meth:`loss` of the one tile."""
        (tile,) = samples
        return self.loss(tile, rng)

    def answers(self, samples: Sequence[Tile]) -> list[TileAnswer]:
        """See :meth:`predict`."""
        return [TileAnswer(tile, *self.predict(tile)) for tile in samples]

    figures = staticmethod(figures)
    in_words = staticmethod(in_words)
    picture = staticmethod(picture)

    def reference(self, unseen: Sequence[Tile], log: Log) -> dict[str, float]:
        """The classical matcher's figures."""
        found: list[TileAnswer] = []
        for tile in unseen:
            log.progress("classical matcher", len(found), len(unseen))
            classical = classical_answer(tile)
            found.append(TileAnswer(tile, classical.displacement, classical.weight))
        log.progress("classical matcher", len(found), len(unseen))
        measured = figures(found)
        log.say(f"classical matcher on them: {in_words(measured)[0]}")
        return {f"classical_{name}": value for name, value in measured.items()}

    def write_samples(self, path: Path, samples: Sequence[Tile]) -> None:
        """A shard of tiles."""
        write_tiles(path, samples)
