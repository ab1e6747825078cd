"""Coarse to fine in UV and in D: each level searches only around what the level before it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mesoface.capture import View
from mesoface.errors import ReconstructionError
from mesoface.matching.displacement import find_peak, smooth_robustly
from mesoface.matching.images import pixel_footprint, prepare_image
from mesoface.matching.ncc import ncc_scores
from mesoface.matching.pairs import choose_pairs
from mesoface.matching.trust import Rig
from mesoface.mesh import Mesh
from mesoface.progress import ProgressCallback, silent
from mesoface.uvd.maps import blur_masked, resize_map
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import SEEN, cast_visibility


@dataclass(frozen=True)
class Level:
    """One pass of the cascade.

    Args:
        size: side of the UV maps, texels.
        reach_mm: displacements from -reach to +reach are tried.
        step_mm: distance between them.
        window: standard deviation of the correlation window, texels.
        stiffness: confidence at which a texel and its surroundings count the same.
        base_mm: smoothing of the surface that the next level searches around. Searching around the measured
            surface itself would feed its noise back through the window.
        normal_mm: smoothing of the normals that the next level searches along.
        smooth: standard deviation of the smoothing of the displacement itself, texels.
    """

    size: int
    reach_mm: float
    step_mm: float
    window: float
    stiffness: float
    base_mm: float
    normal_mm: float
    smooth: float = 0.7

    @property
    def steps(self) -> NDArray[np.float64]:
        """(D,) displacements, mm."""
        count = round(self.reach_mm / self.step_mm)
        return np.arange(-count, count + 1) * self.step_mm


_FAST = (
    Level(64, 12.0, 1.0, window=1.5, stiffness=0.25, base_mm=4.0, normal_mm=9.0),
    Level(64, 8.0, 0.8, window=1.5, stiffness=0.25, base_mm=4.0, normal_mm=9.0),
    Level(128, 6.0, 0.5, window=2.0, stiffness=0.25, base_mm=2.0, normal_mm=6.0),
    Level(128, 4.0, 0.4, window=2.0, stiffness=0.25, base_mm=2.0, normal_mm=4.0),
    Level(256, 3.0, 0.3, window=1.6, stiffness=0.25, base_mm=1.5, normal_mm=3.0),
    Level(256, 2.1, 0.3, window=1.4, stiffness=0.25, base_mm=0.8, normal_mm=2.0),
    Level(512, 0.9, 0.15, window=2.5, stiffness=0.5, base_mm=0.8, normal_mm=1.5, smooth=1.2),
)
_DEFAULT = (
    *_FAST,
    Level(768, 0.45, 0.15, window=2.5, stiffness=0.5, base_mm=0.7, normal_mm=2.5, smooth=1.2),
    Level(768, 0.4, 0.1, window=2.0, stiffness=0.5, base_mm=0.7, normal_mm=1.5, smooth=1.8),
)
_BEST = (
    *_DEFAULT[:-1],
    Level(1024, 0.4, 0.1, window=2.8, stiffness=0.5, base_mm=0.7, normal_mm=1.5, smooth=2.4),
)
PRESETS: dict[str, tuple[Level, ...]] = {"fast": _FAST, "default": _DEFAULT, "best": _BEST}

# Peak correlation at or below which a texel counts as not measured.
_LOWEST_SCORE = 0.3
# Smoothed weight from which a texel is part of the result.
_ACCEPT = 0.03
# Visibility from which a texel counts as well seen.
_WELL_SEEN = 0.35
# Texels of less than this share of a photo's pixel would only interpolate.
_FINEST_TEXEL = 0.6
# Pixels of a prepared photo per texel.
_OVERSAMPLE = 1.5
# Weight of what was not measured when the surface to search around is smoothed: it only fills gaps.
_LEAST_WEIGHT = 1e-3
# Up to this size of the maps the rig is checked.
_RIG_SIZE = 256
# What remains of a coarser level's weight where the finer one measures nothing.
_KEEP = 0.7


@dataclass(frozen=True, eq=False)
class LevelInput:
    """What one level of the cascade starts from.

    Args:
        level: its sizes and steps.
        space: the surface that it searches around.
        views: the V views that are still trusted, their cameras as corrected so far.
        visibility: (V, H, H) how well each of them sees each texel.
    """

    level: Level
    space: UVDSpace
    views: tuple[View, ...]
    visibility: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Match:
    """What the matching cascade measured.

    Args:
        space: UVD space whose zero is the measured surface.
        measured: (H, H) where at least two views agree on the surface.
        confidence: (H, H) float32 in [0, 1], 0 where not measured.
        views: the V views that were used, their cameras as corrected.
        visibility: (V, H, H) how well each of them sees each texel.
        used: (V,) their indices among the views that were given.
        notes: what was noticed about the views, one sentence each.
    """

    space: UVDSpace
    measured: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    views: tuple[View, ...]
    visibility: NDArray[np.float32]
    used: tuple[int, ...]
    notes: tuple[str, ...]


def levels_for(preset: str, views: Sequence[View], space: UVDSpace) -> tuple[Level, ...]:
    """The preset's levels, without those whose texels would be much finer than the photos' pixels.

    Args:
        preset: ``fast``, ``default`` or ``best``.
        views: the photos.
        space: the base surface at any resolution.

    Raises:
        ReconstructionError: the photos are too coarse for every level.
    """
    footprint = float(np.median(pixel_footprint(views, space.position[space.valid].mean(0))))
    texel_of = {level.size: space.texel_mm * space.size / level.size for level in PRESETS[preset]}
    levels = tuple(level for level in PRESETS[preset] if texel_of[level.size] >= _FINEST_TEXEL * footprint)
    if not levels:
        raise ReconstructionError(
            f"the photos are too coarse: a pixel spans {footprint:.1f} mm of the face, "
            f"{max(texel_of.values()) / _FINEST_TEXEL:.1f} mm is the most that can be matched",
            remedy="take photos in which the face is larger",
        )
    return levels


def match(
    build_space: Callable[[int], UVDSpace],
    views: Sequence[View],
    *,
    preset: str = "default",
    occluder: Mesh | None = None,
    threads: int = 2,
    device: str = "cpu",
    on_level: Callable[[LevelInput], None] | None = None,
    progress: ProgressCallback = silent,
) -> Match:
    """Measure the surface around a base mesh.

    After every level the base is re-centred on what was measured: the next level starts from new
    positions and searches along new normals.

    Args:
        build_space: makes the base mesh's UVD space at a given size (its mask is used at each level).
        views: V ≥ 2 undistorted photos in millimetres.
        preset: see :data:`PRESETS`.
        occluder: what hides the face beside the face itself, or None.
        threads: for the correlation on the CPU.
        device: torch device of the correlation; on the CPU OpenCV's filters are faster than torch's.
        on_level: told what each level starts from.
        progress: called once a level.

    Raises:
        ReconstructionError: no texel is seen by two views, they agree nowhere, or the photos are too coarse.
    """
    correlate = _correlation_on(device, threads)
    space = build_space(256)
    levels = levels_for(preset, views, space)
    masks = {256: space.valid}
    checks = _levels_to_check_at(levels)
    rig = Rig.of(views, space.position[space.valid].astype(np.float64))
    confidence = np.zeros(space.valid.shape, np.float32)
    for number, level in enumerate(levels):
        progress("Matching", number, len(levels))
        if level.size not in masks:
            masks[level.size] = build_space(level.size).valid
        if space.size != level.size:
            space = space.resized(level.size, masks[level.size])
        visibility = cast_visibility(space, rig.views, occluder)
        seen = space.valid & ((visibility > SEEN).sum(0) >= 2)
        if not seen.any():
            raise ReconstructionError(
                "no part of the face is seen by two photos",
                remedy="check the calibration with `mesoface inspect`",
            )
        if on_level is not None:
            on_level(LevelInput(level, space, rig.views, visibility))
        pairs = choose_pairs([view.camera for view in rig.views], space.position[space.valid].mean(0))
        images = [prepare_image(view, space, _OVERSAMPLE, level.reach_mm) for view in rig.views]
        scores = correlate(space, images, visibility, pairs, level.steps, level.window)
        displacement, weight = _settle(scores, seen * _second_best(visibility), space.valid, level)
        # What a coarser level measured stays measured, without the detail that this level could not see.
        before = resize_map(confidence, np.ones(confidence.shape, bool), level.size)
        confidence = np.where(seen, np.maximum(weight, _KEEP * before), 0).astype(np.float32)
        if number < len(levels) - 1:
            sigma = level.base_mm / space.texel_mm
            displacement = blur_masked(displacement, np.maximum(weight, _LEAST_WEIGHT), sigma)
        space = space.recentred(displacement, space.valid, level.normal_mm)
        if number in checks:
            used = rig.used
            rig = rig.checked(space, visibility * (confidence > _ACCEPT))
            visibility = visibility[np.isin(used, rig.used)]
    progress("Matching", len(levels), len(levels))
    measured = confidence > _ACCEPT
    if not measured.any():
        raise ReconstructionError(
            "the photos agree nowhere on a surface", remedy="check the calibration with `mesoface inspect`"
        )
    return Match(
        space,
        measured,
        np.where(measured, np.minimum(confidence, 1), 0).astype(np.float32),
        rig.views,
        visibility,
        rig.used,
        rig.notes(space.position[space.valid].mean(0).astype(np.float64)),
    )


def _levels_to_check_at(levels: Sequence[Level]) -> set[int]:
    """Indices of the last two levels on which the rig is cheap to check: the surface is best known there."""
    return set([number for number, level in enumerate(levels) if level.size <= _RIG_SIZE][-2:])


def _correlation_on(device: str, threads: int) -> Callable[..., NDArray[np.float32]]:
    """The correlation for a torch device: OpenCV's filters on the CPU, torch elsewhere."""
    if device == "cpu":
        return partial(ncc_scores, threads=threads)
    from mesoface.matching import ncc_torch  # here, because torch takes seconds to import

    return partial(ncc_torch.ncc_scores, device=device)


def _second_best(visibility: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, H) in [0, 1]: 1 where two views see the texel well, less where all but one see it at a slant."""
    return np.clip(np.partition(visibility, -2, axis=0)[-2] / _WELL_SEEN, 0, 1)


def _settle(
    scores: NDArray[np.float32], trust: NDArray[np.float32], valid: NDArray[np.bool_], level: Level
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, H) smoothed displacement of a level and the weight it has."""
    peak = find_peak(scores, level.steps)
    confidence = np.clip((peak.score - _LOWEST_SCORE) / (1 - _LOWEST_SCORE), 0, 1) ** 3
    return smooth_robustly(
        peak.displacement,
        (confidence * trust * peak.interior).astype(np.float32),
        valid,
        stiffness=level.stiffness,
        sigma=level.smooth,
        scale_mm=3 * level.step_mm,
    )
