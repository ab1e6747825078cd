"""From radiance to a photo: focus, exposure, white balance, noise, sRGB, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.files.colour import LUMINANCE, encode_srgb
from mesoface.lab.synthesis.settings import SynthesisSettings

# Noise variance of one pixel at strength 1: shot noise per unit of signal, and read noise; full scale is 1.
_SHOT, _READ = 1.2e-4, 1.5e-6


def expose(
    radiance: NDArray[np.float32],
    gain: float,
    settings: SynthesisSettings,
    rng: np.random.Generator,
    grain: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Develop one photo.

    Args:
        radiance: (H, W, 3) linear RGB.
        gain: exposure common to all views.
        settings: jitter and noise.
        rng: this view's own.
        grain: of the noise, where it shall be another than the ``rng``'s: in the next frame of a video the
            exposure is the same, and the noise is not.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    exposure = gain * np.exp(rng.normal(0, settings.exposure_jitter))
    balance = np.exp(rng.normal(0, settings.white_balance_jitter, 3) * [1, 0, 1])
    signal = radiance * (exposure * balance).astype(np.float32)
    noise = (grain or rng).standard_normal(signal.shape, np.float32)
    signal = (
        signal + np.sqrt(settings.noise * (_SHOT * np.maximum(signal, 0) + _READ)).astype(np.float32) * noise
    )
    return (encode_srgb(_shoulder(signal)) * 255 + 0.5).astype(np.uint8)


def defocus(radiance: NDArray[np.float32], blur_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 3) the radiance through a lens that is a little out of focus.

    The blur is a Gaussian, its standard deviation log-normal around ``blur_px`` with a spread of 30 %.
    """
    sigma = blur_px * float(np.exp(rng.normal(0, 0.3)))
    return (
        cv2.GaussianBlur(radiance, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) if sigma > 0 else radiance
    )


def noise_strength(levels: float) -> float:
    """The strength at which a mid-grey's standard deviation in the photo is ``levels`` of 255."""
    grey = 0.18
    slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)  # of the sRGB curve there
    return (levels / 255 / slope) ** 2 / (_SHOT * grey + _READ)


def meter(radiance: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """The gain that brings the pixels ``where`` (H, W) to a mid-tone with little clipping."""
    luminance = radiance[where] @ LUMINANCE
    middle, bright = np.percentile(luminance, [60, 98])
    return float(min(0.30 / middle, 0.75 / bright))


def _shoulder(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highlights above 0.7 roll off smoothly towards 1, as in any camera's tone curve."""
    knee = np.float32(0.7)
    over = np.maximum(signal - knee, 0)
    return np.minimum(signal, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
