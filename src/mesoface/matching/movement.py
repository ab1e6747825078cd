"""Skin that moved between photos: found view by view on the measured surface, weighed down, and named.

A breath, a swallow, a brow that is raised: the photo of one view is shifted there against the others
(:mod:`mesoface.matching.shifts`). A blink, a hand, a strand of hair: it does not correlate with them at all.
Both are taken from the view's weight before the surface is refined, and stated in a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.matching.shifts import (
    LEAST_VIEWS,
    STRIDE,
    WINDOW_MM,
    Shifts,
    estimate_shifts,
    quantile_of_views,
    windows_of,
)
from mesoface.uvd.maps import dilate, resize_mask, smooth_step
from mesoface.uvd.space import Match
from mesoface.uvd.visibility import SEEN

Map = NDArray[np.float32]
Array = NDArray[np.float64]

# Side of the maps that views are compared on, texels.
_SIZE = 256
# Movement is what is larger than all of these: standard deviations, pixels, mm.
_SIGMAS, _LEAST_PX, _LEAST_MM = 4.0, 0.3, 0.15
# A view shows something else where the Fisher transform of its correlation with the others is below the
# median view's by so much, in windows that it sees to such a share.
_OTHER, _SEEN_WHOLE = 1.2, 0.6
# In and around parts where the evidence reaches 1, in units of those limits, a view loses weight from this
# evidence on. At 1 it has none left.
_FADING = 0.6
# Parts in which there is evidence must be so many windows large. In smaller ones rigid captures have it too:
# up to 1.4 and 0.5 windows on head scans, synthetic heads and a rig whose cameras shoot at once.
_MOVED_WINDOWS, _OTHER_WINDOWS = 1.75, 1.0


@dataclass(frozen=True, eq=False)
class Movement:
    """What moved, view by view.

    Args:
        kept: (V, H, H) in [0, 1], what is left of each view's weight.
        share: (V,) of the area that a view sees together with others, how much moved or shows something else.
        largest_mm: (V,) the largest movement across the line of sight; 0 where a view only shows something
            else.
        place: (V, 3) mm, where that is, or where the difference is largest; NaN where there is none.
    """

    kept: Map
    share: Array
    largest_mm: Array
    place: Array


def weigh_down_movement(
    found: Match,
    regions: Mapping[str, Array] | None = None,
    within: NDArray[np.bool_] | None = None,
) -> Match:
    """Take weight from views where the skin moved or something else is seen, and say so.

    Args:
        found: the measured surface.
        regions: names of parts of the face, each with its middle (3,) mm; a note has that of the nearest.
        within: (H, H) where to look; None for everywhere.

    Returns:
        ``found`` with another visibility and further notes. At least two views stay for each texel that two
        or more saw. Where nothing moved: ``found`` itself.
    """
    movement = find_movement(found, within)
    if not movement.share.any():
        return found
    visibility = found.visibility * movement.kept
    lost = ((visibility > SEEN).sum(0) < 2) & ((found.visibility > SEEN).sum(0) >= 2)
    visibility = np.where(lost, found.visibility, visibility)
    moved = np.flatnonzero(movement.share)
    notes = [_note(found.views[v].name, movement, v, regions or {}) for v in moved]
    checks = tuple(
        replace(check, moved=check.moved + float(share), moved_mm=max(check.moved_mm, float(largest)))
        for check, share, largest in zip(found.checks, movement.share, movement.largest_mm, strict=False)
    )  # there are none where cameras were not checked
    return replace(found, visibility=visibility, notes=(*found.notes, *notes), checks=checks)


def _note(name: str, movement: Movement, v: int, regions: Mapping[str, Array]) -> str:
    share, largest = f"{100 * movement.share[v]:.0f} %", movement.largest_mm[v]
    what = [f"up to {largest:.1f} mm"] if largest > 0 else []
    if regions:
        nearest = min(regions, key=lambda region: float(np.linalg.norm(regions[region] - movement.place[v])))
        what.append(f"at the {nearest}")
    details = f" ({', '.join(what)})" if what else ""
    if largest > 0:
        seen = f"the face moved in {share} of what it sees"
        return f"view {name}: {seen}{details}; the view counts less there"
    seen = f"shows something else than the others in {share} of what it sees"
    return f"view {name} {seen}{details}; it counts less there"


def find_movement(found: Match, within: NDArray[np.bool_] | None = None) -> Movement:
    """Find where each view is shifted against the others, or shows something else.

    Args:
        found: the measured surface.
        within: (H, H) where to look; None for everywhere.
    """
    full = found.space.size
    size = min(_SIZE, full // STRIDE * STRIDE)
    space = found.space.resized(size, resize_mask(found.measured, size))
    seen = [cv2.resize(view, (size, size), interpolation=cv2.INTER_AREA) for view in found.visibility]
    sees = np.stack(seen) * space.valid
    kept = np.ones_like(found.visibility)
    share, largest, place = np.zeros(len(sees)), np.zeros(len(sees)), np.full((len(sees), 3), np.nan)
    if ((sees > SEEN).sum(0) >= LEAST_VIEWS).any():
        shifts = estimate_shifts(found.views, space, sees)
        part = windows_of(size)
        where = np.ones_like(space.valid[part]) if within is None else resize_mask(within, size)[part]
        area = (space.texel_mm * STRIDE) ** 2
        other = _large_parts(_other_evidence(shifts), _OTHER_WINDOWS, where, area)
        # What is no skin of this face has no shift.
        moving = _movement_evidence(shifts) * (other == 0)
        moved = _large_parts(moving, _MOVED_WINDOWS, where, area)
        weight, positions = shifts.windows.weight * shifts.windows.known, space.position[part]
        for v in np.flatnonzero((moved > 1).any((1, 2)) | (other > 1).any((1, 2))):
            evidence = np.maximum(moved[v], other[v])
            share[v] = weight[v][evidence > 1].sum() / weight[v].sum()
            length = shifts.length_mm[v] * (moved[v] > 1)
            largest[v] = length.max()
            place[v] = positions.reshape(-1, 3)[np.argmax(length if length.any() else evidence)]
            left = 1 - smooth_step((evidence - _FADING) / (1 - _FADING))
            kept[v] = cv2.resize(left.astype(np.float32), (full, full), interpolation=cv2.INTER_LINEAR)
    return Movement(kept, share, largest, place)


def _movement_evidence(shifts: Shifts) -> Array:
    """(V, h, w) how many times as large a shift is as the largest of its limits."""
    limits = (shifts.sigmas / _SIGMAS, shifts.length_px / _LEAST_PX, shifts.length_mm / _LEAST_MM)
    return np.minimum.reduce(limits) * shifts.windows.known


def _other_evidence(shifts: Shifts) -> Array:
    """(V, h, w) how many times its limit a view's correlation is below that of the median view."""
    windows = shifts.windows
    fisher = np.arctanh(np.clip(windows.agreement, -0.99, 0.99))
    usual = quantile_of_views(fisher, windows.known, 0.5)
    whole = windows.known & (windows.weight > _SEEN_WHOLE)
    return np.where(whole, (usual - fisher) / _OTHER, 0)


def _large_parts(evidence: Array, windows: float, where: NDArray[np.bool_], area: float) -> Array:
    """(V, h, w) the evidence in and around connected parts above 1 that are large and reach into ``where``.

    Args:
        evidence: (V, h, w).
        windows: how many windows large parts must be.
        where: (h, w).
        area: of an element, mm².
    """
    least = windows * 4 * np.pi * WINDOW_MM**2 / area
    reach = round(2 * WINDOW_MM / np.sqrt(area))
    out = np.zeros_like(evidence)
    for view, kept in zip(evidence, out, strict=True):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((view > 1).astype(np.uint8), connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= least
        large &= np.isin(np.arange(len(large)), labels[where])
        large[0] = False
        around = dilate(large[labels], reach) & ((view <= 1) | large[labels])
        kept[around] = view[around]
    return out
