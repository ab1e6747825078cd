"""The classical matcher: windowed correlation, the best step, robust smoothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mesoface.matching.displacement import find_peak, smooth_robustly
from mesoface.matching.matcher import Level, LevelInput, Measurement, well_seen
from mesoface.matching.ncc import choose_pairs, ncc_scores, prepare_image


@dataclass(frozen=True)
class ClassicalLevel(Level):
    """A level, and how its correlations become a surface.

    Args:
        window: standard deviation of the correlation window, texels.
        stiffness: confidence at which a texel and its surroundings count the same.
        smooth: standard deviation of the smoothing of the displacement itself, texels.
    """

    window: float = 2.0
    stiffness: float = 0.5
    smooth: float = 0.7

    @classmethod
    def of(cls, level: Level) -> ClassicalLevel:
        """The level itself, or a plain one with default settings."""
        if isinstance(level, cls):
            return level
        return cls(level.size, level.reach_mm, level.step_mm, level.base_mm, level.normal_mm)


COARSE = (
    ClassicalLevel(64, 12.0, 1.0, window=1.5, stiffness=0.25, base_mm=4.0, normal_mm=9.0),
    ClassicalLevel(64, 8.0, 0.8, window=1.5, stiffness=0.25, base_mm=4.0, normal_mm=9.0),
    ClassicalLevel(128, 6.0, 0.5, window=2.0, stiffness=0.25, base_mm=2.0, normal_mm=6.0),
    ClassicalLevel(128, 4.0, 0.4, window=2.0, stiffness=0.25, base_mm=2.0, normal_mm=4.0),
    ClassicalLevel(256, 3.0, 0.3, window=1.6, stiffness=0.25, base_mm=1.5, normal_mm=3.0),
    # Twice: where the base was far off, the first pass compares windows of a wrong slope.
    ClassicalLevel(256, 3.0, 0.3, window=1.6, stiffness=0.25, base_mm=1.5, normal_mm=3.0),
    ClassicalLevel(256, 2.1, 0.3, window=1.4, stiffness=0.25, base_mm=0.8, normal_mm=2.0),
)
"""Levels that find the face; finer ones measure it."""
# Up to so many views, windows on finer maps find more than the refinement over all views does by itself.
_FEW = 6
_BEFORE_768 = ClassicalLevel(768, 0.45, 0.15, 0.7, 2.5, window=2.5, stiffness=0.5, smooth=1.2)
_LAST_768 = ClassicalLevel(768, 0.4, 0.1, 0.7, 1.5, window=2.0, stiffness=0.5, smooth=1.8)
_FAST = (
    *COARSE,
    ClassicalLevel(512, 0.9, 0.15, window=2.5, stiffness=0.5, base_mm=0.8, normal_mm=1.5, smooth=1.2),
)
_DEFAULT = (
    *COARSE,
    # Folds that the smoothed surface of the coarse levels bridges (nose wings, deep lids) lie out of the
    # reach of ``fast``.
    ClassicalLevel(512, 1.8, 0.15, window=2.5, stiffness=0.5, base_mm=0.8, normal_mm=1.5, smooth=1.2),
    replace(_BEFORE_768, most_views=_FEW),
    replace(_LAST_768, most_views=_FEW),
)
PRESETS: dict[str, tuple[ClassicalLevel, ...]] = {
    "fast": _FAST,
    "default": _DEFAULT,
    "best": (*_DEFAULT[:-2], _BEFORE_768, _LAST_768),
}


@dataclass(frozen=True, eq=False)
class ClassicalAnswer:
    """The result of the correlation on one level, and the surface that was made of it.

    Args:
        scores: (D, H, H) float32 in [-1, 1], mean correlation at each displacement.
        peak: (H, H) float32 mm, where each texel's own correlation is highest.
        trust: (H, H) float32 in [0, 1], confidence in the peak.
        displacement: (H, H) float32 mm, robustly smoothed, without gaps.
        weight: (H, H) float32 in [0, 1], confidence in the displacement.
    """

    scores: NDArray[np.float32]
    peak: NDArray[np.float32]
    trust: NDArray[np.float32]
    displacement: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def measurement(self) -> Measurement:
        """The surface alone."""
        return Measurement(self.displacement, self.weight)


# Peak correlation at or below which a texel counts as not measured.
_LOWEST_SCORE = 0.3
# Pixels of a prepared photo per texel.
_OVERSAMPLE = 1.5


class ClassicalMatcher:
    """Normalised cross-correlation between pairs of views; nothing in it is learned.

    Args:
        device: torch device of the correlation; on the CPU OpenCV's filters are faster than torch's.
        threads: for the correlation on the CPU.
    """

    presets: Mapping[str, tuple[ClassicalLevel, ...]] = PRESETS

    def __init__(self, device: str = "cpu", threads: int = 2):
        self._correlate: Callable[..., NDArray[np.float32]] = partial(ncc_scores, threads=threads)
        if device != "cpu":
            from mesoface.matching import ncc_torch  # here, because torch takes seconds to import

            self._correlate = partial(ncc_torch.ncc_scores, device=device)

    def measure(self, start: LevelInput) -> Measurement:
        """See :class:`mesoface.matching.matcher.Matcher`."""
        return self.answer(start).measurement

    def answer(self, start: LevelInput) -> ClassicalAnswer:
        """As :meth:`measure`, with the correlations that it was derived from."""
        level, space, views = ClassicalLevel.of(start.level), start.space, start.views
        pairs = choose_pairs([view.camera for view in views], space.position[space.valid].mean(0))
        images = [prepare_image(view, space, _OVERSAMPLE, level.reach_mm) for view in views]
        scores = self._correlate(space, images, start.visibility, pairs, level.steps, level.window)
        peak = find_peak(scores, level.steps)
        confidence = np.clip((peak.score - _LOWEST_SCORE) / (1 - _LOWEST_SCORE), 0, 1) ** 3
        trust = (confidence * well_seen(start) * peak.interior).astype(np.float32)
        displacement, weight = smooth_robustly(
            peak.displacement,
            trust,
            space.valid,
            stiffness=level.stiffness,
            sigma=level.smooth,
            scale_mm=3 * level.step_mm,
        )
        return ClassicalAnswer(scores, peak.displacement, trust, displacement, weight)
