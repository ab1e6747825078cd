"""Whether two pictures of some 250 pixels show the same skin, whatever the exposure and the shading."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_CONTRAST = 6.0  # pixels over which brightness and contrast are evened out
_WINDOW = 5.0  # pixels, standard deviation, over which the agreement is judged
_LEVELS, _GREY = 40, 128  # of a byte: one local deviation, and the local mean


def evened(grey: Image) -> Image:
    """Grey values with local mean 0 and local deviation 1: exposure and shading are not skin."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _CONTRAST)
    return detail / (np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST)) + 0.01)


def as_bytes(image: Image) -> NDArray[np.uint8]:
    """An evened image as optical flow takes it."""
    return np.clip(image * _LEVELS + _GREY, 0, 255).astype(np.uint8)


def from_bytes(image: NDArray[np.uint8]) -> Image:
    """What :func:`as_bytes` kept of an evened image."""
    return (image.astype(np.float32) - _GREY) / _LEVELS


def local_correlation(a: Image, b: Image) -> Image:
    """Normalised cross-correlation in a Gaussian window around every pixel."""

    def mean(image: Image) -> Image:
        return cv2.GaussianBlur(image, (0, 0), _WINDOW)

    ma, mb = mean(a), mean(b)
    variance = (mean(a * a) - ma * ma) * (mean(b * b) - mb * mb)
    return (mean(a * b) - ma * mb) / np.sqrt(np.maximum(variance, 1e-6))
