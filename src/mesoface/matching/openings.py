"""Lids, eyeballs and lips, measured after the skin around them: each opening in a window of its own.

Measured together with the skin they would cost it accuracy: eyes shine, lids and lips have edges that no
smoothing should cross. So the skin is measured first, and stays as it is but at the openings' edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import ReconstructionError
from mesoface.geometry.mesh import Mesh
from mesoface.matching.cascade import match
from mesoface.matching.matcher import Level, Matcher, levels_for
from mesoface.matching.uncertainty import estimate_opening_uncertainty
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.filling import fill_smoothly
from mesoface.uvd.maps import bounding_box, dilate, erode, grid_faces, resize_mask
from mesoface.uvd.photos import typical_footprint
from mesoface.uvd.space import Match, UVDSpace, build_uvd_space, smooth_normals

# Coarser levels find the face; around the skin that is known, nothing is that far off.
_COARSEST = 128
# Skin around an opening that is measured again with it, mm: what is found inside is fitted to the skin there.
_RING_MM = 6.0
# Skin at the edge of an opening was the rim of the mask and measured from one side: so many mm are replaced.
_EDGE_MM = 1.5
# Reach of the slope at the edge of an opening, mm.
_REACH_MM = 4.0
# The normals that the search begins along are smoothed over so many mm.
_NORMAL_MM = 3.0
# Openings of fewer texels hold nothing to measure.
_LEAST_TEXELS = 64
# Side of the surface that rays are cast at, texels.
_RAY_SIZE = 192
# The sides of windows are multiples of so many texels: whole numbers on the coarser levels too.
_UNIT = 24


@dataclass(frozen=True, eq=False)
class _Window:
    """A square part of the maps, and what is measured in it: ``inside`` (S, S) is the opening itself."""

    part: tuple[slice, slice]
    space: UVDSpace
    inside: NDArray[np.bool_]


def match_openings(
    found: Match,
    base: Mesh,
    facial: NDArray[np.bool_],
    closing: NDArray[np.bool_],
    matcher: Matcher,
    *,
    preset: str = "default",
    progress: ProgressCallback = silent,
) -> Match:
    """Measure what lies in the openings of the facial mask, and the skin within 1.5 mm of them again.

    Args:
        found: the skin, measured.
        base: the mesh that it was measured around.
        facial: (F,) its faces in the facial mask.
        closing: (F,) its faces across the openings.
        matcher: that measured the skin.
        preset: with which of its levels.
        progress: called once an opening.

    Returns:
        the same with the openings in its mask. Where the photos agree on nothing there (an open mouth), they
        are not ``measured``, and their position is that of the base, fitted to the skin around.
    """
    size = found.space.size
    fitted = build_uvd_space(base, facial | closing, size, smooth_mm=_NORMAL_MM / 2)
    opening = fitted.valid & ~found.space.valid
    if not opening.any() or not found.measured.any():
        return found
    texel = found.space.texel_mm
    near = dilate(opening, round(2 * _RING_MM / texel)) & fitted.valid
    offset = fill_smoothly(found.space.position - fitted.position, found.measured, near, _REACH_MM / texel)
    position = np.where(opening[..., None], fitted.position + offset, found.space.position)
    valid = found.space.valid | opening
    normal = smooth_normals(position, valid, _NORMAL_MM / texel, found.space.normal)
    start = UVDSpace(position, np.where(opening[..., None], normal, found.space.normal), valid)
    out = replace(found, space=start)
    count, labels = cv2.connectedComponents(opening.astype(np.uint8), connectivity=8)
    levels = levels_for(matcher.presets, preset, found.views, found.space)
    outside = base.select_faces(~(facial | closing))
    for number in range(1, count):
        progress("Matching eyes and lips", number - 1, count - 1)
        if (inside := labels == number).sum() >= _LEAST_TEXELS:
            inside = dilate(inside, round(_EDGE_MM / texel)) & valid
            window = _window(replace(start, normal=normal), inside)
            out = _measure(out, window, levels, matcher, _others(start, window, outside))
    progress("Matching eyes and lips", count - 1, count - 1)
    return out


def _window(space: UVDSpace, inside: NDArray[np.bool_]) -> _Window:
    """The opening ``inside`` (H, H) with a ring of skin, in a square as small as can be."""
    ring = round(_RING_MM / space.texel_mm)
    wanted = dilate(inside, ring) & space.valid
    spans = bounding_box(wanted)
    side = max(span.stop - span.start for span in spans) + ring
    side = min(-(-side // _UNIT) * _UNIT, space.size)
    starts = ((span.start + span.stop - side) // 2 for span in spans)
    top, left = (min(max(start, 0), space.size - side) for start in starts)
    part = slice(top, top + side), slice(left, left + side)
    return _Window(part, UVDSpace(space.position[part], space.normal[part], wanted[part]), inside[part])


def _others(space: UVDSpace, window: _Window, outside: Mesh) -> Mesh:
    """What hides the opening beside itself: the rest of the face, and what of the base is not face."""
    rest = space.valid.copy()
    rest[window.part] &= ~window.space.valid
    face = space.resized(min(_RAY_SIZE, space.size))
    faces = grid_faces(face.valid & resize_mask(rest, face.size))
    vertices = np.concatenate([face.position.reshape(-1, 3), outside.vertices])
    return Mesh(vertices, np.concatenate([faces, outside.faces + face.size**2]))


def _measure(
    found: Match, window: _Window, levels: Sequence[Level], matcher: Matcher, occluder: Mesh
) -> Match:
    """``found`` with what the photos show in the window's opening."""
    share = window.space.size / found.space.size
    finer = [level for level in levels if level.size >= min(_COARSEST, levels[-1].size)]
    scaled = [replace(level, size=round(level.size * share)) for level in finer]
    try:
        inner = match(
            window.space.resized, found.views, matcher, levels=scaled, check_rig=False, occluder=occluder
        )
    except ReconstructionError:  # no two photos see anything, or they agree nowhere
        return found
    inner = inner.resized(window.space.valid)
    # The skin in the ring was measured twice; the difference is carried on into the opening.
    before, after = found.space.position[window.part], inner.space.position
    ring = erode(window.space.valid & ~window.inside, 1) & found.measured[window.part] & inner.measured
    if not ring.any() or len(inner.views) != len(found.views):
        return found
    reach = _REACH_MM / found.space.texel_mm
    fitted = after + fill_smoothly(before - after, ring, window.space.valid, reach)
    measured = window.inside & inner.measured

    def pasted(old: NDArray, new: NDArray) -> NDArray:
        """A map with what was measured in the window."""
        out = old.copy()
        out[window.part][measured] = new[measured]
        return out

    position = pasted(found.space.position, fitted)
    normal = pasted(found.space.normal, inner.space.normal)
    seen = [pasted(old, new) for old, new in zip(found.visibility, inner.visibility, strict=True)]
    uncertainty = found.uncertainty
    if uncertainty is not None and measured.any():
        footprint = typical_footprint([view.camera for view in found.views], after[measured].mean(0))
        skin = float(np.median(uncertainty[found.measured]))
        footprint = max(footprint, found.space.texel_mm)
        estimated = estimate_opening_uncertainty(inner.confidence, footprint, skin)
        uncertainty = pasted(uncertainty, estimated)
    return replace(
        found,
        space=replace(found.space, position=position, normal=normal),
        measured=pasted(found.measured, inner.measured),
        confidence=pasted(found.confidence, inner.confidence),
        visibility=np.stack(seen),
        uncertainty=uncertainty,
    )
