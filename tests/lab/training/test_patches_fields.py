"""The random fields that skin is drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.lab.training.patches.fields import hairs, spots, waves, wrinkles

N = 192


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_power_falls_as_told(slope):
    power = np.mean(
        [
            np.abs(np.fft.fft2(waves(np.random.default_rng(k), N, shortest=2, longest=N, slope=slope))) ** 2
            for k in range(12)
        ],
        axis=0,
    )
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N)))
    band = (f > 0.02) & (f < 0.2)
    measured, _ = np.polyfit(np.log(f[band]), np.log(power[band]), 1)
    assert -measured == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize(("shortest", "longest"), [(4, 40), (60, 192)])
def test_waves_stay_in_their_band(shortest, longest):
    field = waves(rng(), N, shortest=shortest, longest=longest, slope=2)
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N)))
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2
    assert power[(f > 1.3 / shortest)].sum() < 0.01 * power.sum()
    assert power[(f < 0.8 / longest)].sum() < 0.01 * power.sum()


def test_lone_spots_have_their_size_and_height():
    field = spots(rng(), N, sigma=3, density=0.0008)
    assert field.min() >= 0
    assert 0.25 < field.max() < 1.1
    row, column = np.unravel_index(field.argmax(), field.shape)
    assert field[row, (column + 3) % N] == pytest.approx(field.max() * np.exp(-0.5), rel=0.15)


def test_wrinkles_and_hairs_stay_between_none_and_all():
    for field in (
        wrinkles(rng(), N, spacing=24, width=3),
        hairs(rng(), N, width=2, length=30, density=2),
    ):
        assert 0 <= field.min() < 0.05
        assert 0.7 < field.max() <= 1
        assert field.shape == (N, N)
    assert hairs(rng(), N, width=2, length=30, density=0).max() == 0
