"""At which level of the cascade a patch plays: sizes of texels, steps and photo pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Texels finer than this are detail levels: a few short steps. Coarser levels search further.
_DETAIL_MM = 0.6
# Photos are rendered no finer than this, texels a pixel: matching would only shrink them again.
_FINEST_PIXEL = 0.45


@dataclass(frozen=True)
class Scale:
    """The sizes that a level of the cascade works with.

    Args:
        size: side of the patch, texels.
        texel_mm: distance between texels, along the surface.
        step: distance between the displacements that are tried, texels.
        reach: displacements from -reach to +reach are tried, steps.
        base_sigma: standard deviation of the smoothing of the surface that is searched around, texels.
        normal_sigma: of the smoothing of its normals, texels.
        photo_mm: what a pixel of the photos spans where the skin faces the camera.
    """

    size: int
    texel_mm: float
    step: float
    reach: int
    base_sigma: float
    normal_sigma: float
    photo_mm: float

    @property
    def pixel_mm(self) -> float:
        """What a pixel of the *rendered* photos spans, mm."""
        return max(self.photo_mm, _FINEST_PIXEL * self.texel_mm)

    @property
    def shrink(self) -> float:
        """Size of the photos' flaws in rendered pixels, relative to photo pixels."""
        return self.photo_mm / self.pixel_mm


def draw_scale(rng: np.random.Generator, size: int) -> Scale:
    """A level like those of :data:`mesoface.matching.classical.PRESETS`, nearly always a detail level.

    Args:
        rng: source of chance.
        size: side of the patch, texels.
    """
    texel = log_uniform(rng, 0.18, 1.0) if rng.uniform() < 0.9 else log_uniform(rng, 1.0, 3.5)
    detail = texel < _DETAIL_MM
    photo = min(texel * log_uniform(rng, 0.4, 1.8), log_uniform(rng, 0.12, 0.8))
    return Scale(
        size=size,
        texel_mm=texel,
        step=rng.uniform(0.25, 0.6) if detail else rng.uniform(0.22, 0.4),
        reach=int(rng.integers(4, 7)) if detail else int(rng.integers(5, 13)),
        base_sigma=rng.uniform(1.5, 6.0),
        normal_sigma=rng.uniform(2.5, 9.0),
        photo_mm=photo,
    )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
