"""Random fields on a square grid (waves of a power law, spots, wrinkles, hairs), and random magnitudes."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft


@lru_cache(maxsize=8)
def _frequency(n: int) -> NDArray[np.float32]:
    """(n, n // 2 + 1) spatial frequency, waves per sample, of a real Fourier transform."""
    return np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)[None]).astype(np.float32)


def waves(
    rng: np.random.Generator, n: int, *, shortest: float, longest: float, slope: float
) -> NDArray[np.float32]:
    """Gaussian noise of zero mean and unit variance whose power falls as frequency to the minus ``slope``.

    Args:
        rng: source of chance.
        n: side, samples.
        shortest: wavelength below which there is nothing, samples.
        longest: wavelength above which there is nothing, samples; never more than the side.
        slope: 0 is white; natural surfaces have 3 to 4.

    Returns:
        (n, n), periodic.
    """
    # What has no short waves needs no fine grid.
    coarse = n
    while coarse > 64 and shortest * coarse / n > 8:
        coarse //= 2
    ratio = coarse / n
    f = _frequency(coarse)
    amplitude = np.zeros_like(f)
    some = f > 0
    amplitude[some] = f[some] ** np.float32(-slope / 2)
    amplitude *= np.exp(-((f * (shortest * ratio)) ** 8)) * (f * (min(longest, n) * ratio) > 0.9)
    spectrum = fft.rfft2(rng.standard_normal((coarse, coarse), np.float32)) * amplitude
    field = fft.irfft2(spectrum, (coarse, coarse)).astype(np.float32)
    field /= max(float(field.std()), 1e-12)
    return field if coarse == n else cv2.resize(field, (n, n), interpolation=cv2.INTER_CUBIC)


def spots(rng: np.random.Generator, n: int, *, sigma: float, density: float) -> NDArray[np.float32]:
    """Round spots of different strength at random places.

    Args:
        rng: source of chance.
        n: side, samples.
        sigma: standard deviation of a spot's Gaussian, samples.
        density: spots per square of ``sigma``.

    Returns:
        (n, n) ≥ 0; a lone spot peaks between 0.3 and 1.
    """
    count = rng.poisson(density * (n / sigma) ** 2)
    field = np.zeros((n, n), np.float32)
    row, column = rng.integers(0, n, (2, count))
    np.add.at(field, (row, column), rng.uniform(0.3, 1, count).astype(np.float32))
    return cv2.GaussianBlur(field, (0, 0), sigma) * np.float32(2 * np.pi * sigma**2)


def wrinkles(rng: np.random.Generator, n: int, *, spacing: float, width: float) -> NDArray[np.float32]:
    """A family of roughly parallel sharp valleys that come and go.

    Args:
        rng: source of chance.
        n: side, samples.
        spacing: distance between valleys, samples.
        width: half width of a valley, samples.

    Returns:
        (n, n) from 0 to 1 in the depth of a valley.
    """
    angle = rng.uniform(0, np.pi)
    x = np.arange(n, dtype=np.float32) / np.float32(spacing)
    phase = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * x[:, None]
    phase = phase + 0.5 * waves(rng, n, shortest=3 * spacing, longest=12 * spacing, slope=3)
    away = np.abs(phase - np.round(phase)) * np.float32(spacing / width)
    here = waves(rng, n, shortest=3 * spacing, longest=n, slope=2)
    return np.exp(-away) / (1 + np.exp(-2 * here))


def hairs(
    rng: np.random.Generator, n: int, *, width: float, length: float, density: float
) -> NDArray[np.float32]:
    """Hairs in about one direction, on a part of the grid.

    Args:
        rng: source of chance.
        n: side, samples.
        width: of a hair, samples.
        length: of a hair, samples.
        density: hairs per square of ``length`` where they are densest.

    Returns:
        (n, n) cover from 0 to 1.
    """
    count = rng.poisson(density * (n / length) ** 2)
    where = waves(rng, n, shortest=n / 3, longest=n, slope=2)
    root = rng.uniform(0, n, (count, 2))
    row, column = root.astype(int).T
    root = root[rng.uniform(size=count) < 1 / (1 + np.exp(-6 * where[row, column]))]
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.25, len(root))
    bend = rng.normal(0, 0.5) + rng.normal(0, 0.2, len(root))
    reach = length * rng.uniform(0.5, 1.2, len(root))
    # Three straight pieces, each turned a little further.
    turn = angle[:, None] + bend[:, None] * np.array([-0.5, 0.0, 0.5])
    pieces = np.stack([np.cos(turn), np.sin(turn)], -1) * (reach / 3)[:, None, None]
    knots = root[:, None] + np.concatenate([np.zeros((len(root), 1, 2)), np.cumsum(pieces, 1)], 1)
    picture = np.zeros((n, n), np.uint8)
    shift = 4
    lines = [line.reshape(-1, 1, 2) for line in np.round(knots * (1 << shift)).astype(np.int32)]
    cv2.polylines(picture, lines, False, 255, max(1, round(width)), cv2.LINE_AA, shift)
    return picture.astype(np.float32) / 255


def rms_slope(field: NDArray[np.float32]) -> float:
    """Root mean square of the gradient's length, per sample."""
    return float(np.sqrt(np.mean(np.diff(field, axis=0) ** 2) + np.mean(np.diff(field, axis=1) ** 2)))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
