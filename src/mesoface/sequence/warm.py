"""Matching around a surface that is known already: fewer, finer levels and a narrower search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.face_models.model import Topology
from mesoface.geometry.mesh import Mesh
from mesoface.matching.cascade import match
from mesoface.matching.classical import ClassicalLevel
from mesoface.matching.matcher import Level, Matcher
from mesoface.running.progress import ProgressCallback
from mesoface.sequence.state import Track
from mesoface.sequence.tracking import SIZE
from mesoface.surface.fine import smooth_base
from mesoface.uvd.maps import blur_masked
from mesoface.uvd.photos import typical_footprint
from mesoface.uvd.space import Match, UVDSpace, smooth_normals

Map = NDArray[np.float32]
FacialMasks = Callable[[int], NDArray[np.bool_]]
"""The facial mask at a size."""

_TO_THE_SKIN = ClassicalLevel(256, 1.5, 0.3, window=1.4, stiffness=0.25, base_mm=0.8, normal_mm=2.0)
_512 = ClassicalLevel(512, 0.3, 0.15, window=2.5, stiffness=0.5, base_mm=0.8, normal_mm=1.5, smooth=1.2)
_NEAR = replace(_512, reach_mm=0.9)
_640 = ClassicalLevel(640, 0.3, 0.15, window=2.3, stiffness=0.5, base_mm=0.8, normal_mm=1.5, smooth=1.5)
_768 = ClassicalLevel(768, 0.2, 0.1, window=2.0, stiffness=0.5, base_mm=0.7, normal_mm=1.5, smooth=1.8)
LAST: dict[str, tuple[ClassicalLevel, ...]] = {"fast": (_512,), "default": (_640, _512), "best": (_768, _512)}
"""Last levels of a frame that was tracked, by preset: the first whose texels are no finer than the photos'
pixels, or the coarsest. The learned matcher's network is used in it alone; relief finer than its texels is
carried along with the skin."""


def levels_of(preset: str, views: Sequence[View], space: UVDSpace, largest: int) -> tuple[Level, ...]:
    """The levels of a frame that was tracked.

    Args:
        preset: one of :data:`LAST`.
        views: its photos.
        space: the tracked skin.
        largest: size of the first frame's maps: no level is finer, its photos may have been too coarse.
    """
    pixel = typical_footprint([view.camera for view in views], space.position[space.valid].mean(0))
    texel = {level: space.texel_mm * space.size / level.size for level in LAST[preset]}
    fits = [level for level in LAST[preset] if level.size <= largest and texel[level] >= pixel]
    levels = (_TO_THE_SKIN, _NEAR, fits[0] if fits else LAST[preset][-1])
    return tuple(level for level in levels if level.size <= largest)


# Normals that the search begins along.
_NORMAL_MM = 3.0
# Relief of up to this many texels of the finest level is the mean over frames, of at most so many.
_BAND_TEXELS, _MEMORY = 2.0, 4
# Where the frames differ by so much, mm, in a neighbourhood of so many mm, the relief has changed.
_CHANGED_MM, _NEIGHBOURHOOD_MM = 0.1, 1.0


@dataclass(frozen=True, eq=False)
class WarmMeasure:
    """A :data:`mesoface.pipeline.Measure` around a surface that was tracked.

    Args:
        matcher: measures each level.
        preset: one of :data:`LAST`.
        position: (SIZE, SIZE, 3) where the skin was found, mm.
        before: the previous frame, with its normals and the relief so far.
        masks: of the face.
    """

    matcher: Matcher
    preset: str
    position: Map
    before: Track
    masks: FacialMasks

    def __call__(
        self, views: Sequence[View], base: Mesh, topology: Topology, progress: ProgressCallback
    ) -> Match:
        """Measure; the result has the size of the relief before."""
        valid, before = self.masks(SIZE), self.before
        start = UVDSpace(self.position, before.normal, valid)
        normal = smooth_normals(self.position, valid, _NORMAL_MM / start.texel_mm, before.normal)
        start, size = replace(start, normal=normal), len(before.kept)
        found = match(
            lambda side: start if side == SIZE else start.resized(side, self.masks(side)),
            views,
            self.matcher,
            levels=levels_of(self.preset, views, start, size),
            check_rig=False,  # the cameras are those of the anchor frame: corrections would jitter
            occluder=base.select_faces(~topology.facial),
            progress=progress,
        )
        enlarged, detail = found.resized(self.masks(size)), before.detail.astype(np.float32)
        return with_relief(enlarged, detail, before.kept, before.frames, finest_mm=found.space.texel_mm)


def with_relief(
    found: Match, detail: Map, kept: NDArray[np.bool_], frames: int, *, finest_mm: float
) -> Match:
    """What was measured now, with the relief of the previous frames where this frame cannot resolve it.

    Relief below the measured ``finest_mm`` is the previous one; up to twice that, it is the mean over the
    frames, which averages out noise; anything larger is this frame's own. Where relief has changed (a new
    wrinkle), this frame's counts.

    Args:
        found: what was measured now, (H, H).
        detail: (H, H) mm, the previous relief on the same skin, over the base surface.
        kept: (H, H) where it was measured.
        frames: how many frames it was measured in.
        finest_mm: texel of the finest level that measured now.
    """
    base = smooth_base(found.space, found.measured)
    now = np.einsum("hwk,hwk->hw", found.space.position - base.position, base.normal)
    both = found.measured & kept
    difference = np.where(both, detail - now, 0).astype(np.float32)
    texel = found.space.texel_mm
    fine = difference
    if finest_mm > 1.05 * texel:
        fine = blur_masked(difference, both, finest_mm / texel)
    coarse = blur_masked(difference, both, _BAND_TEXELS * finest_mm / texel)
    frames = min(frames, _MEMORY)
    band = (fine - coarse) * (frames / (frames + 1))
    differs = blur_masked((difference - coarse) ** 2, both, _NEIGHBOURHOOD_MM / texel)
    same = both / (1 + differs / _CHANGED_MM**2) ** 2
    correction = (same * (difference - fine + band)).astype(np.float32)
    position = found.space.position + base.normal * correction[..., None]
    return replace(found, space=replace(found.space, position=position))


def facial_masks(topology: Topology) -> FacialMasks:
    """The facial mask (size, size) at any size, each rasterised once."""
    return cache(topology.facial_mask)
