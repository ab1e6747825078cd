"""What the photos agree on: gains between cameras, and which photo is wrong where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Outside of these a channel is clipped or mostly noise, and says nothing about exposure.
_DARK, _BRIGHT = 0.03, 0.97
# Residuals beyond this are shine or occluders, not exposure (logarithm: 0.1 is ten per cent).
_LOG_SCALE = 0.1
_ROUNDS = 8
# Colours that differ from the consensus by more than this are shine or something before the face.
_COLOR_SCALE, _COLOR_START = 0.25, 0.5
# Share of the photos (by weight) that must agree: with fewer there is no telling who is wrong, from the
# second on it is clear.
_MAJORITY, _CLEAR = 0.65, 0.85


def solve_gains(colors: NDArray, weights: NDArray) -> Array:
    """One factor per photo and channel that makes the photos agree where several see the same texel.

    Robust least squares in logarithms: ``log color[v, n] = surface[n] + log exposure[v]`` with all surfaces
    and exposures unknown. Brown and Lowe (IJCV 2007) solve for gains likewise, from overlaps' means.

    Args:
        colors: (V, N, 3) sRGB in [0, 1]. A gain of linear light is one of sRGB too, to a power.
        weights: (V, N) ≥ 0, 0 where a photo does not see the texel.

    Returns:
        (V, 3) factors to multiply with; their geometric mean over the photos is 1.
    """
    gains = np.ones((len(colors), 3))
    for channel in range(3):
        values = np.asarray(colors[..., channel], np.float64)
        usable = weights * ((values > _DARK) & (values < _BRIGHT))
        offsets = solve_offsets(np.log(np.maximum(values, _DARK)), usable, _LOG_SCALE)
        gains[:, channel] = np.exp(-offsets)
    return gains


def solve_offsets(values: Array, weights: NDArray, scale: float) -> Array:
    """Offsets b in ``values[v, n] = a[n] + b[v]`` by iteratively reweighted least squares (Geman–McClure).

    Args:
        values: (V, N).
        weights: (V, N) ≥ 0.
        scale: residual at which an observation has lost most of its say.

    Returns:
        (V,) with mean 0; what shares no n with the others stays near 0.
    """
    views = len(values)
    offsets = np.zeros(views)
    trust = np.asarray(weights, np.float64)
    shared = (trust > 0).sum(0) >= 2
    values, trust = values[:, shared], trust[:, shared]
    if not shared.any():
        return offsets
    robust = trust
    for round_ in range(_ROUNDS):
        total = np.maximum(robust.sum(0), 1e-12)
        # The surfaces eliminated: what is left is a V × V Laplacian of the graph of overlaps.
        share = robust / total
        laplacian = np.diag(robust.sum(1)) - robust @ share.T
        right = (robust * (values - (share * values).sum(0))).sum(1)
        tiny = 1e-6 * max(np.trace(laplacian) / views, 1e-12)
        offsets = np.linalg.solve(laplacian + tiny * np.eye(views), right)
        offsets -= offsets.mean()
        left = values - offsets[:, None]
        residual = left - (share * left).sum(0)
        # From nearly plain least squares to the robust estimate: outliers cannot win by being first.
        width = scale * 4 ** max(0.0, 1 - round_ / 3)
        robust = trust / (1 + (residual / width) ** 2) ** 2
    return offsets


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far photos agree about colour.

    Args:
        factor: (V, H, W) in [0, 1], what is left of each photo's weight.
        clear: (H, W) in [0, 1], whether most of them agree: else every factor is 1.
    """

    factor: NDArray[np.float32]
    clear: NDArray[np.float32]


def find_agreement(colors: NDArray, weights: NDArray) -> Agreement:
    """How far each photo's colour is what the photos see in common, texel by texel.

    Shine moves with the camera, and an occluder that the geometry does not have (hair, a hand) covers one
    photo and not the next. With fewer than three photos nobody can tell which one is wrong, nor where all
    of them differ (strands of hair).

    Args:
        colors: (V, H, W, 3) without detail, gains applied.
        weights: (V, H, W) ≥ 0.
    """
    weights = np.asarray(weights, np.float32)
    factor = np.ones_like(weights)
    many = (weights > 0).sum(0) >= 3
    for round_ in range(_ROUNDS):
        trust = weights * factor
        mean = np.einsum("vhw,vhwc->hwc", trust, colors) / np.maximum(trust.sum(0), 1e-9)[..., None]
        away = colors - mean
        squared = np.einsum("vhwc,vhwc->vhw", away, away) / 3
        width = _COLOR_SCALE + (_COLOR_START - _COLOR_SCALE) * max(0.0, 1 - round_ / 4)
        factor = np.where(many, 1 / (1 + squared / width**2) ** 2, 1).astype(np.float32)
    agreed = (weights * factor).sum(0) / np.maximum(weights.sum(0), 1e-9)
    clear = np.clip((agreed - _MAJORITY) / (_CLEAR - _MAJORITY), 0, 1).astype(np.float32)
    return Agreement(factor**clear, clear)
