"""Roughness of a surface by wavelength, and what two measurements of one surface have in common.

A band keeps the waves between two cut-off wavelengths: in the terms of areal surface texture (ISO 25178), the
root mean square height Sq of an S–L surface. A filter passes half of a wave at its cut-off, as in ISO 16610.
It is a Gaussian applied twice, ``1 - (1 - G)²`` ("twicing", Tukey 1977): one Gaussian would let the form of a
face into the wider bands. Filters run on position maps in UV, with the width of the texels in the region, and
heights are along the normals of the surface without its bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import unit
from mesoface.uvd.maps import bounding_box, distance_inside

BANDS = ((0.6, 1.2), (1.2, 3.0), (3.0, 6.0), (6.0, 12.0))
"""Cut-off wavelengths, mm: pores; fine lines; noise of correlation windows; bumps on cheeks."""

# Standard deviation of the Gaussian, as a share of the wavelength of which the filter passes one half:
# 2g - g² = 1/2 for g = exp(-2 π² (σ/λ)²).
_SIGMA = float(np.sqrt(-np.log(1 - np.sqrt(0.5)) / 2) / np.pi)
# Texels nearer to unmeasured ones than this share of the longer wavelength are not used: the filter's reach.
_REACH = 0.5
_TEXELS = 3.0  # least number of texels in a band's longer wavelength
_FEWEST = 100  # texels from which a figure is taken

Bands = Sequence[tuple[float, float]]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class BandRoughness:
    """One band of a surface in a region.

    Args:
        low: shorter cut-off wavelength, mm.
        high: longer cut-off wavelength, mm.
        roughness: root mean square height (Sq), mm; None where the texels are too coarse for the band, or too
            few are far enough from the rim.
    """

    low: float
    high: float
    roughness: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BandAgreement(BandRoughness):
    """One band of two measurements of a surface: that of the first (:class:`BandRoughness`), and:

    Args:
        other: roughness of the second, mm.
        difference: root mean square difference of their heights, mm. Of two independent measurements, the
            noise of one is 1/√2 of it.
        shared: share of the variance that both have in common, ``2 cov / (var + var)``, at most 1: the signal
            share of one measurement if the two are independent. About 0 (or below) where there is noise only.
    """

    other: float | None
    difference: float | None
    shared: float | None


def roughness_by_band(
    position: Map, measured: NDArray[np.bool_], region: NDArray[np.bool_], bands: Bands = BANDS
) -> tuple[BandRoughness, ...]:
    """Roughness of a surface in each band.

    Args:
        position: (H, W, 3) mm, where ``measured``.
        measured: (H, W) texels that were measured; no others are used.
        region: (H, W) texels that the figures are of.
        bands: cut-off wavelengths, mm.
    """
    heights = _band_heights((position,), measured, region, bands)
    found = []
    for (low, high), band in zip(bands, heights, strict=True):
        found.append(BandRoughness(low, high, None if band is None else float(band[0].std())))
    return tuple(found)


def agreement_by_band(
    first: Map, second: Map, measured: NDArray[np.bool_], region: NDArray[np.bool_], bands: Bands = BANDS
) -> tuple[BandAgreement, ...]:
    """What two measurements of a surface have in common, in each band.

    Args:
        first: (H, W, 3) mm.
        second: (H, W, 3) mm, the other surface at the same texels: met along the normals of the first.
        measured: (H, W) texels that both measured.
        region: (H, W) texels that the figures are of.
        bands: cut-off wavelengths, mm.
    """
    heights = _band_heights((first, second), measured, region, bands)
    found = []
    for (low, high), band in zip(bands, heights, strict=True):
        if band is None:
            found.append(BandAgreement(low, high, None, None, None, None))
            continue
        (a, b), difference = band, band[0] - band[1]
        variance = float(a.var() + b.var())
        shared = 1 - float(difference.var()) / variance if variance > 0 else None
        stds = float(a.std()), float(b.std()), float(difference.std())
        found.append(BandAgreement(low, high, *stds, shared))
    return tuple(found)


def _band_heights(
    positions: Sequence[Map], measured: NDArray[np.bool_], region: NDArray[np.bool_], bands: Bands
) -> list[NDArray[np.float32] | None]:
    """Per band (S, N) heights of S surfaces at the N texels that can be used, mm; None where they are few.

    All are along the normals of the mean surface without the longest band.
    """
    wanted = region & measured
    if wanted.sum() < _FEWEST:
        return [None] * len(bands)
    widths = _texel_widths(positions[0], wanted)
    reach = 4 * _SIGMA * max(high for _, high in bands) / min(widths)
    window = bounding_box(wanted, int(np.ceil(reach)))
    measured, wanted = measured[window], wanted[window]
    middle = positions[0][window][measured].mean(0)
    surfaces = [np.where(measured[..., None], p[window] - middle, 0).astype(np.float32) for p in positions]
    cutoffs = sorted({cutoff for band in bands for cutoff in band})
    smooth = {cutoff: [_low_pass(s, measured, cutoff, widths) for s in surfaces] for cutoff in cutoffs}
    form = np.mean(smooth[cutoffs[-1]], 0)
    normal = unit(np.cross(np.gradient(form, axis=1), -np.gradient(form, axis=0)))
    depth = distance_inside(measured) * min(widths)
    heights: list[NDArray[np.float32] | None] = []
    for low, high in bands:
        used = wanted & (depth >= _REACH * high)
        if max(widths) * _TEXELS > high or used.sum() < _FEWEST:
            heights.append(None)
            continue
        waves = [(fine - coarse)[used] for fine, coarse in zip(smooth[low], smooth[high], strict=True)]
        heights.append(np.stack([np.einsum("nk,nk->n", wave, normal[used]) for wave in waves]))
    return heights


def _low_pass(values: Map, weight: NDArray[np.bool_], wavelength: float, widths: tuple[float, float]) -> Map:
    """(H, W, 3) without waves shorter than ``wavelength``, mm; counts only texels with weight."""
    sigmas = tuple(_SIGMA * wavelength / width for width in widths)
    once = _blur(values, weight, sigmas)
    return once + _blur(values - once, weight, sigmas)


def _blur(values: Map, weight: NDArray[np.bool_], sigmas: tuple[float, ...]) -> Map:
    """Normalised convolution with a Gaussian of ``sigmas`` texels along columns and rows."""

    def blur(a: NDArray) -> NDArray:
        return cv2.GaussianBlur(a, (0, 0), sigmas[0], sigmaY=sigmas[1], borderType=cv2.BORDER_CONSTANT)

    total = blur(weight.astype(np.float32))[..., None]
    return blur(values * weight[..., None]) / np.maximum(total, 1e-6)


def _texel_widths(position: Map, wanted: NDArray[np.bool_]) -> tuple[float, float]:
    """Median distance of neighbouring texels along rows and along columns, mm."""
    right = np.linalg.norm(np.diff(position, axis=1), axis=-1)[wanted[:, 1:] & wanted[:, :-1]]
    down = np.linalg.norm(np.diff(position, axis=0), axis=-1)[wanted[1:] & wanted[:-1]]
    return float(np.median(right)), float(np.median(down))
