"""How far the measured surface may be off: one standard deviation, mm, for every texel.

Part of the error is noise, which the photos show themselves: views disagree. Part is bias that all views
share: the plate is stiff, windows are wide, cameras and JPEG are off in common. No comparison of views shows
that part. So the standard deviation is a regression. Its logarithm is a linear function of what is known of a
texel, with coefficients fitted to synthetic captures whose true surface is known
(``benchmarks/uncertainty.py``). Lengths are taken relative to the footprint of a pixel, so that a capture of
another scale has errors of that scale. The noise of the plate is estimated by the wild bootstrap (Wu, 1986):
the residuals of the views get random signs, and bend the same plate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.uvd.maps import blur_masked, distance_inside
from mesoface.uvd.space import UVDSpace

Map = NDArray[np.float32]

COEFFICIENTS = Path(__file__).parents[1] / "assets" / "uncertainty.json"
"""What ``benchmarks/uncertainty.py fit`` writes."""
# Squares of noise are averaged over Gaussians of so many mm: one draw a texel is no variance.
_NOISE_MM = 2.5
# The relief that a stiff plate may have flattened: what a Gaussian of so many footprints takes away.
_RELIEF = 3.0
# The rim counts up to so many mm.
_RIM_MM = 8.0
# Smallest and largest standard deviation that is stated, mm: the range of errors that was fitted.
_RANGE = (0.01, 3.0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a refined surface of (H, W) texels.

    Args:
        space: the surface; ``valid`` is where it was measured.
        texel_mm: what a texel spans.
        footprint_mm: what a pixel spans on the face, or a texel where that is more.
        information: of the photos, 1/mm² a texel.
        stiffness: of the plate, as in :func:`.refinement.bend_plate`.
        noise: (K, H, W) mm, displacements that K draws of the bootstrap cause.
        moved: mm, by how much the refinement moved the surface of the cascade.
        step: mm, its last step.
        confidence: of the cascade, in [0, 1].
        views: how many views see a texel well.
    """

    space: UVDSpace
    texel_mm: float
    footprint_mm: float
    information: Map
    stiffness: float
    noise: Map
    moved: Map
    step: Map
    confidence: Map
    views: Map


def describe_texels(evidence: Evidence) -> dict[str, Map]:
    """(H, W) features by name, most of them logarithms of mm."""
    e, texel = evidence, evidence.texel_mm
    mask = e.space.valid

    def spread(x: NDArray, mm: float) -> Map:
        return np.sqrt(np.maximum(blur_masked(x**2, mask, mm / texel), 0))

    known = np.maximum(blur_masked(e.information, mask, 1.0 / texel), 1e-6)
    # Variance of a thin plate on springs: ∫ d²f / (2π)² 1 / (information + stiffness |f|⁴).
    plate = (64 * known * e.stiffness) ** -0.25
    noise = np.sqrt(np.maximum(blur_masked((e.noise**2).mean(0), mask, _NOISE_MM / texel), 0))
    sigma = _RELIEF * e.footprint_mm / texel
    smooth = blur_masked(e.space.position, mask, sigma)
    relief = np.einsum("hwc,hwc->hw", e.space.position - smooth, e.space.normal)
    rim = np.minimum(distance_inside(mask) * texel, _RIM_MM)
    return {
        "plate": np.log(plate),
        "noise": np.log(noise + 1e-3),
        "moved": np.log(spread(e.moved, 1.0) + 1e-2),
        "step": np.log(spread(e.step, 1.0) + 3e-3),
        "relief": np.log(spread(relief, 1.0) + 1e-2),
        "footprint": np.full_like(plate, np.log(e.footprint_mm)),
        "confidence": np.log(blur_masked(e.confidence, mask, 0.7 / texel) + 0.05),
        "views": np.log(e.views + 0.5),
        "rim": np.log(rim + 1.0),
    }


def estimate_uncertainty(evidence: Evidence) -> Map:
    """(H, W) one standard deviation of the surface along its normal, mm; 0 where it was not measured."""
    sigma = _evaluate(read_coefficients()["surface"], describe_texels(evidence))
    return np.where(evidence.space.valid, sigma, 0).astype(np.float32)


def describe_openings(confidence: Map, footprint_mm: float, skin_mm: float) -> dict[str, Map]:
    """Features of what was measured in the openings of the mask, which no refinement has reached.

    Args:
        confidence: (H, W) of the cascade, in [0, 1].
        footprint_mm: as in :class:`Evidence`.
        skin_mm: median uncertainty of the skin, > 0.
    """
    return {
        "footprint": np.full_like(confidence, np.log(footprint_mm)),
        "skin": np.full_like(confidence, np.log(skin_mm)),
        "confidence": np.log(confidence + 0.05),
    }


def estimate_opening_uncertainty(confidence: Map, footprint_mm: float, skin_mm: float) -> Map:
    """(H, W) one standard deviation, mm, of eyes and lips; the arguments are :func:`describe_openings`'s."""
    return _evaluate(read_coefficients()["openings"], describe_openings(confidence, footprint_mm, skin_mm))


def _evaluate(coefficients: dict[str, float], features: dict[str, Map]) -> Map:
    """The regression, mm."""
    logarithm = coefficients["constant"] + sum(coefficients[name] * x for name, x in features.items())
    return np.clip(np.exp(logarithm), *_RANGE).astype(np.float32)


@cache
def read_coefficients() -> dict[str, dict[str, float]]:
    """The coefficients of ``surface`` and ``openings`` by the features' names, with their ``constant``."""
    return json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
