"""What the cascade and a matcher exchange: levels, what a level starts from, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.uvd.photos import typical_footprint
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import SEEN

FINEST_TEXEL = 0.6
"""Texels of less than this share of a photo's pixel would only interpolate."""


@dataclass(frozen=True)
class Level:
    """One pass of the cascade.

    Args:
        size: side of the UV maps, texels.
        reach_mm: displacements from -reach to +reach are tried.
        step_mm: distance between them.
        base_mm: smoothing of the surface that the next level searches around. Searching around the measured
            surface itself would feed its noise back through what is compared around each texel.
        normal_mm: smoothing of the normals that the next level searches along.
        most_views: with more views than these the level is left out: comparing all of them at once (see
            :mod:`mesoface.matching.refinement`) then measures as well, in less time. None: it never is.
    """

    size: int
    reach_mm: float
    step_mm: float
    base_mm: float
    normal_mm: float
    most_views: int | None = None

    @property
    def steps(self) -> NDArray[np.float64]:
        """(D,) displacements, mm."""
        count = round(self.reach_mm / self.step_mm)
        return np.arange(-count, count + 1) * self.step_mm


@dataclass(frozen=True)
class LevelInput:
    """What one level of the cascade starts from.

    Args:
        level: its sizes and steps.
        space: the surface that it searches around.
        views: the V views that are still trusted, their cameras as corrected so far.
        visibility: (V, H, H) how well each of them sees each texel.
        confidence: (H, H) how well the levels before have measured ``space``; 1 at the first.
        last: whether no finer level follows.
    """

    level: Level
    space: UVDSpace
    views: tuple[View, ...]
    visibility: NDArray[np.float32]
    confidence: NDArray[np.float32]
    last: bool = False


def levels_for(
    presets: Mapping[str, Sequence[Level]], preset: str, views: Sequence[View], space: UVDSpace
) -> tuple[Level, ...]:
    """The preset's levels that these photos need.

    Texels much finer than the photos' pixels are left out, and so is what only fewer views need.

    Args:
        presets: a matcher's levels.
        preset: ``fast``, ``default`` or ``best``.
        views: the photos.
        space: the base surface at any resolution.

    Raises:
        ReconstructionError: the photos are too coarse for every level.
    """
    footprint = typical_footprint([view.camera for view in views], space.position[space.valid].mean(0))
    texel_of = {level.size: space.texel_mm * space.size / level.size for level in presets[preset]}
    levels = tuple(level for level in presets[preset] if texel_of[level.size] >= FINEST_TEXEL * footprint)
    levels = tuple(level for level in levels if level.most_views is None or len(views) <= level.most_views)
    if not levels:
        raise ReconstructionError(
            f"the photos are too coarse: a pixel spans {footprint:.1f} mm of the face, "
            f"{max(texel_of.values()) / FINEST_TEXEL:.1f} mm is the most that can be matched",
            remedy="take photos in which the face is larger",
        )
    return levels


# Visibility from which a texel counts as well seen.
_WELL_SEEN = 0.35


@dataclass(frozen=True, eq=False)
class Measurement:
    """The result of one level.

    Args:
        displacement: (H, H) float32 mm, without gaps.
        weight: (H, H) float32, confidence; 0 where nothing was measured, 1 is good.
    """

    displacement: NDArray[np.float32]
    weight: NDArray[np.float32]


class Matcher(Protocol):
    """Finds the surface around one level's base."""

    @property
    def presets(self) -> Mapping[str, Sequence[Level]]:
        """The levels of ``fast``, ``default`` and ``best``; one of them is enough."""
        ...

    def measure(self, start: LevelInput) -> Measurement:
        """The displacement of every texel from the base of one of this matcher's own levels."""
        ...


def well_seen(start: LevelInput) -> NDArray[np.float32]:
    """(H, H) in [0, 1]: 1 where two views see the texel well, less where all but one see it at a slant.

    0 outside of the facial mask and where fewer than two views see it at all.
    """
    seen = start.space.valid & ((start.visibility > SEEN).sum(0) >= 2)
    second_best = np.partition(start.visibility, -2, axis=0)[-2]
    return (seen * np.clip(second_best / _WELL_SEEN, 0, 1)).astype(np.float32)
