"""Holes of a UV map filled without a step or a crease: a thin plate under tension."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from mesoface.uvd.maps import distance_inside, fill_outside

Map = NDArray[np.float32]

# Largest map on which all that is unknown is solved for at once; on finer ones only what is near the seam.
_WHOLE = 200
# Cubic B-splines around a place a quarter of a texel to the right of the third.
_QUARTER = np.array([0, 0.75**3, 4 - 6 * 0.25**2 + 3 * 0.25**3, 4 - 6 * 0.75**2 + 3 * 0.75**3, 0.25**3]) / 6
# Texels from the seam that are solved for again on each finer map.
_BAND = 8


def fill_smoothly(values: NDArray, known: NDArray[np.bool_], domain: NDArray[np.bool_], reach: float) -> Map:
    """Continue a map from where it is known over ``domain``, with its slope at the seam.

    What is filled minimises ``∫ |Δf|² + |∇f|² / reach²``: a thin plate under tension (Franke, Thin plate
    splines with tension, CAGD 1985). Near the seam it bends like a plate, so that value and slope continue;
    farther away it is a membrane, which does not overshoot. The border of the domain is free. The equations
    are solved on a reduced map first, and again on each finer map in a band along the seam.

    Args:
        values: (H, H) or (H, H, C).
        known: (H, H) texels whose values stay.
        domain: (H, H) texels to be filled; known texels need not lie in it.
        reach: texels from the seam over which its slope fades.

    Returns:
        float32 map like ``values``; outside of domain and known texels it is a continuation without meaning.

    Raises:
        ValueError: nothing is known.
    """
    if not known.any():
        raise ValueError("nothing is known that could be continued")
    flat = np.ascontiguousarray(values, np.float32).reshape(*known.shape, -1)
    return _fill(flat, known, domain & ~known, reach).reshape(np.shape(values))


def _fill(values: Map, known: NDArray[np.bool_], unknown: NDArray[np.bool_], reach: float) -> Map:
    """(H, H, C) ``values`` where ``known``, solved for where ``unknown``, continued elsewhere."""
    size, start = len(known), fill_outside(values, known)
    if not unknown.any():
        return start
    near = unknown
    if size > _WHOLE and not size % 2:
        start = _enlarge(_fill(*_halve(values, known, unknown), reach / 2), values, known)
        near = unknown & (distance_inside(~known) <= _BAND)
    return _solve(start, near, known | unknown, reach)


def _halve(
    values: Map, known: NDArray[np.bool_], unknown: NDArray[np.bool_]
) -> tuple[Map, NDArray[np.bool_], NDArray[np.bool_]]:
    """The three maps at half their size: known where all four texels are, unknown around where one is."""
    half = (len(known) // 2,) * 2
    share = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(np.where(known[..., None], values, 0), half, interpolation=cv2.INTER_AREA)
    small = small.reshape(*half, -1) / np.maximum(share, 1e-6)[..., None]
    open_ = cv2.resize(unknown.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0
    whole = (share > 0) & ~open_
    # Two texels more at the border, so that enlarging has something to interpolate with.
    around = ndimage.binary_dilation(open_, iterations=2) & ~whole
    return small.astype(np.float32), whole, open_ | around


def _enlarge(small: Map, values: Map, known: NDArray[np.bool_]) -> Map:
    """A map at twice its size by cubic splines, with the known texels as they are.

    Each texel becomes four, a quarter of it from its middle: four small filters of the splines' coefficients,
    many times as fast as a spline that is evaluated anywhere.
    """
    height, width, channels = small.shape
    large = np.empty((2 * height, 2 * width, channels), np.float32)
    for channel in range(channels):
        spline = ndimage.spline_filter(small[..., channel], output=np.float32)
        for row, down in enumerate((_QUARTER[::-1], _QUARTER)):
            for column, right in enumerate((_QUARTER[::-1], _QUARTER)):
                large[row::2, column::2, channel] = cv2.sepFilter2D(spline, -1, right, down)
    return np.where(known[..., None], values, large)


def _solve(start: Map, free: NDArray[np.bool_], domain: NDArray[np.bool_], reach: float) -> Map:
    """(H, H, C) ``start`` with the ``free`` texels solved for; the others of ``domain`` keep their values."""
    if not free.any():
        return start
    # Two texels around the free ones take part; with values beyond the domain nothing is compared.
    part = ndimage.binary_dilation(free, np.ones((3, 3), bool), iterations=2) & domain
    number = np.full(np.add(free.shape, 2), -1)  # with a border, so that every texel has four neighbours
    number[1:-1, 1:-1][part] = np.arange(part.sum())
    here = number[number >= 0]
    row, column = np.nonzero(number >= 0)
    around = np.stack([number[row - 1, column], number[row + 1, column]])
    beside = np.stack([number[row, column - 1], number[row, column + 1]])
    neighbours = np.concatenate([around, beside])
    inner = (neighbours >= 0).all(0)
    count = len(here)

    plate = sparse.csr_matrix(
        (
            np.concatenate([np.full(inner.sum(), -4.0), np.ones(4 * inner.sum())]),
            (
                np.tile(np.arange(inner.sum()), 5),
                np.concatenate([here[inner], *(n[inner] for n in neighbours)]),
            ),
        ),
        (int(inner.sum()), count),
    )
    pairs = np.concatenate([np.stack([here[n >= 0], n[n >= 0]], 1) for n in (around[1], beside[1])])
    edges = np.arange(len(pairs))
    membrane = sparse.csr_matrix(
        (np.repeat([1.0, -1.0], len(pairs)), (np.r_[edges, edges], pairs.T.ravel())), (len(pairs), count)
    )
    energy = (plate.T @ plate + membrane.T @ membrane / max(reach, 1e-3) ** 2).tocsr()
    unknown = free[part]
    known = start[part][~unknown].astype(np.float64)
    rows = energy[unknown]
    out = start.copy()
    factor = splu(
        (rows[:, unknown] + 1e-10 * sparse.eye(int(unknown.sum()))).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    out[free] = factor.solve(-(rows[:, ~unknown] @ known))
    return out
