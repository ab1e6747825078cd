"""Coarse to fine in UV and in D: each level searches only around what the level before it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mesoface.captures.capture import View
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.matching.classical import ClassicalMatcher
from mesoface.matching.matcher import Level, LevelInput, Matcher, levels_for
from mesoface.matching.rig import Rig
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import blur_masked, resize_map
from mesoface.uvd.space import Match, UVDSpace
from mesoface.uvd.visibility import cast_visibility, seen_by_two

# Smoothed weight from which a texel is part of the result: the first, and the second times the median.
# What is far less certain than the rest of the face (hair, the far side of a fold) is often wrong.
_ACCEPT, _ACCEPT_OF_MEDIAN = 0.03, 0.1
# Weight of what was not measured when the surface to search around is smoothed: it only fills gaps.
_LEAST_WEIGHT = 1e-3
# Up to this size of the maps the rig is checked.
_RIG_SIZE = 256
# What remains of a coarser level's weight where the finer one measures nothing.
_KEEP = 0.7


def match(
    build_space: Callable[[int], UVDSpace],
    views: Sequence[View],
    matcher: Matcher,
    *,
    preset: str = "default",
    levels: Sequence[Level] | None = None,
    check_rig: bool = True,
    occluder: Mesh | None = None,
    on_level: Callable[[LevelInput], None] | None = None,
    progress: ProgressCallback = silent,
) -> Match:
    """Measure the surface around a base mesh.

    After every level the base is re-centred on what was measured: the next level starts from new
    positions and searches along new normals.

    Args:
        build_space: makes the base mesh's UVD space at a given size (its mask is used at each level).
        views: V ≥ 2 undistorted photos in millimetres.
        matcher: measures each level.
        preset: ``fast``, ``default`` or ``best``: which of the matcher's levels.
        levels: these in place of the preset's, for example where the base is already close to the surface.
        check_rig: whether views may be left out and cameras corrected.
        occluder: what hides the face beside the face itself, or None.
        on_level: called with what each level starts from.
        progress: called once a level.

    Raises:
        ReconstructionError: no texel is seen by two views, they agree nowhere, or the photos are too coarse.
    """
    space = build_space(256)
    levels = levels or levels_for(matcher.presets, preset, views, space)
    masks = {256: space.valid}
    # The last two levels on which the rig is cheap to check: the surface is best known there.
    cheap = [number for number, level in enumerate(levels) if level.size <= _RIG_SIZE]
    checks = cheap[-2:] if check_rig else []
    rig = Rig.of(views, space.position[space.valid].astype(np.float64))
    hidden_by = None if occluder is None else RayCaster(occluder)
    confidence = np.ones(space.valid.shape, np.float32)  # in the fitted base, so far
    for number, level in enumerate(levels):
        progress("Matching", number, len(levels))
        if level.size not in masks:
            masks[level.size] = build_space(level.size).valid
        if space.size != level.size:
            space = space.resized(level.size, masks[level.size])
        visibility = cast_visibility(space, rig.views, hidden_by)
        seen = seen_by_two(space, visibility)
        before = resize_map(confidence, None, level.size)
        last = number == len(levels) - 1
        start = LevelInput(level, space, rig.views, visibility, before, last)
        if on_level is not None:
            on_level(start)
        measured = matcher.measure(start)
        # What a coarser level measured stays measured, without the detail that this level could not see.
        before = before if number else np.zeros_like(before)
        confidence = np.where(seen, np.maximum(measured.weight, _KEEP * before), 0).astype(np.float32)
        displacement = measured.displacement
        if not last:
            sigma = level.base_mm / space.texel_mm
            displacement = blur_masked(displacement, np.maximum(measured.weight, _LEAST_WEIGHT), sigma)
        space = space.recentred(displacement, space.valid, level.normal_mm)
        if number in checks:
            used = rig.used
            rig = rig.checked(space, visibility * (confidence > _ACCEPT))
            visibility = visibility[np.isin(used, rig.used)]
    progress("Matching", len(levels), len(levels))
    accepted = confidence > _ACCEPT
    if not accepted.any():
        raise ReconstructionError(
            "the photos agree nowhere on a surface", remedy="check the calibration with `mesoface inspect`"
        )
    accepted &= confidence > _ACCEPT_OF_MEDIAN * np.median(confidence[accepted])
    confidence = np.where(accepted, np.minimum(confidence, 1), 0).astype(np.float32)
    center = space.position[space.valid].mean(0).astype(np.float64)
    notes, found = rig.notes(center), rig.checks(center)
    return Match(space, accepted, confidence, rig.views, visibility, rig.used, notes, found)


def choose_matcher(
    name: str, weights: Path | None = None, *, device: str = "cpu", threads: int = 2, memory_mb: int = 1024
) -> Matcher:
    """The matcher called ``name``.

    Args:
        name: ``learned`` or ``ncc``.
        weights: of the learned one; None for those that come with mesoface.
        device: torch device.
        threads: of the CPU.
        memory_mb: for the learned one's volumes.

    Raises:
        MesofaceError: ``ncc`` was given weights, or the weights cannot be used.
    """
    if name == "ncc":
        if weights is not None:
            raise MesofaceError(
                "the ncc matcher has no weights: nothing in it is learned",
                path=weights,
                remedy="leave out --weights, or use --matcher learned",
            )
        return ClassicalMatcher(device, threads)
    from mesoface.matching.learned.matcher import load_matcher  # here, because torch takes seconds to import

    return load_matcher(weights, device=device, threads=threads, memory_mb=memory_mb)
