"""How light falls on the skin, told from the texture and the measured form.

A distant environment lights matt skin nearly as spherical harmonics of second order say (Ramamoorthi and
Hanrahan, An efficient representation for irradiance environment maps, SIGGRAPH 2001). Nine numbers are fitted
to the whole face; what matters later is only how luminance changes as the skin tilts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.files.colour import LUMINANCE, decode_srgb
from mesoface.relief.inputs import DARKEST

# Texels that the fit looks at.
_SAMPLES = 40_000
_ROUNDS = 20
# Below this share of the usual light a fit says nothing any more, in shadow least of all.
_DIMMEST = 0.15


@dataclass(frozen=True, eq=False)
class Illumination:
    """Light of a distant environment on matt skin.

    Args:
        harmonics: (9,) real spherical harmonics of order 0 to 2, unnormalised; 1, x, y, z, xy, yz, xz, 3z² -
            1, x² - y².
        spread: robust standard deviation of what the skin's luminance is beside it, as a ratio: its pigments,
            shadows and highlights.
    """

    harmonics: NDArray[np.float64]
    spread: float

    def luminance(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 3) unit normals → (...,) luminance of even skin; the median of the face is about 1."""
        h = self.harmonics.astype(np.float32)
        x, y, z = np.moveaxis(normals, -1, 0)
        light = h[0] + x * (h[1] + h[4] * y + h[6] * z + h[8] * x) + y * (h[2] + h[5] * z - h[8] * y)
        return np.maximum(light + z * h[3] + h[7] * (3 * z * z - 1), np.float32(_DIMMEST))

    def log_gradient(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 3) unit normals → (..., 3) gradient of the luminance's logarithm as the normal turns."""
        h = self.harmonics.astype(np.float32)
        x, y, z = np.moveaxis(normals, -1, 0)
        gradient = np.stack(
            [
                h[1] + h[4] * y + h[6] * z + 2 * h[8] * x,
                h[2] + h[4] * x + h[5] * z - 2 * h[8] * y,
                h[3] + h[5] * y + h[6] * x + 6 * h[7] * z,
            ],
            -1,
        )
        return gradient / self.luminance(normals)[..., None]


def fit_illumination(
    color: NDArray[np.float32], normals: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Illumination | None:
    """Fit the light to the whole face, as if it had one colour; what does not fit counts little.

    Args:
        color: (H, W, 3) sRGB in [0, 1].
        normals: (H, W, 3) unit, of the measured form.
        valid: (H, W) skin that photos show.

    Returns:
        None where too little skin is to be seen.
    """
    index = np.flatnonzero(valid)
    if len(index) < 1000:
        return None
    index = index[:: max(1, len(index) // _SAMPLES)]
    luminance = np.maximum(decode_srgb(color.reshape(-1, 3)[index]) @ LUMINANCE, DARKEST)
    luminance = luminance / np.median(luminance)
    basis = _basis(normals.reshape(-1, 3)[index])
    # Ratios count, not differences; and a face shows half of all directions, hence the small ridge.
    weight, ridge = 1 / luminance, 1e-3 * len(index) * np.diag([0, 1, 1, 1, 1, 1, 1, 1, 1])
    harmonics, spread = np.zeros(9), 1.0
    for _ in range(_ROUNDS):
        weighted = basis * np.square(weight)[:, None]
        harmonics = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ luminance)
        error = np.log(np.maximum(basis @ harmonics, _DIMMEST)) - np.log(luminance)
        spread = max(float(1.48 * np.median(np.abs(error))), 1e-3)
        weight = 1 / luminance / np.sqrt(1 + (error / (1.5 * spread)) ** 2)
    return Illumination(harmonics, spread) if harmonics[0] > 0 else None


def light_slopes(
    light: Illumination | None, position: NDArray[np.float32], normals: NDArray[np.float32], texel: float
) -> NDArray[np.float32]:
    """How luminance changes with the slope of relief, everywhere on the face.

    Args:
        light: see :func:`fit_illumination`; None where nothing is known.
        position: (H, W, 3) mm, smooth, continued beyond the skin.
        normals: (H, W, 3) unit, smooth.
        texel: size of a texel, mm, that relief is measured in.

    Returns:
        (H, W, 2) relative change of luminance per height difference, in texels, between neighbouring columns
        and between neighbouring rows.
    """
    if light is None:
        return np.zeros((*position.shape[:2], 2), np.float32)
    across, down = np.gradient(position, axis=1), np.gradient(position, axis=0)
    # Slopes of relief along the surface: the inverse metric takes differences along texels to a direction.
    e, f, g = _dot(across, across), _dot(across, down), _dot(down, down)
    determinant = np.maximum(e * g - f * f, 1e-6 * texel**4)
    gradient = light.log_gradient(normals)
    change = _dot(gradient, across), _dot(gradient, down)
    # The normal leans against the slope.
    columns = -(g * change[0] - f * change[1]) / determinant * texel
    rows = -(e * change[1] - f * change[0]) / determinant * texel
    return np.clip(np.stack([columns, rows], -1), -4, 4).astype(np.float32)


def _basis(normals: NDArray) -> NDArray[np.float64]:
    """(..., 3) unit normals → (..., 9)."""
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y], -1)


def _dot(a: NDArray, b: NDArray) -> NDArray:
    """(..., 3), (..., 3) → (...,)."""
    return np.einsum("...k,...k->...", a, b)
