"""Roughness by wavelength against waves of known amplitude, on a curved surface."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from mesoface.evaluation.bands import BANDS, agreement_by_band, roughness_by_band

TEXEL, SIZE, RADIUS = 0.25, 240, 70.0


def sheet(height=0.0, *, aspect: float = 1.0, radius: float = RADIUS) -> np.ndarray:
    """(H, H, 3) a part of a sphere, 60 mm wide, with ``height`` (H, H) mm along its normals, turned."""
    line = (np.arange(SIZE) - SIZE / 2) * TEXEL
    x, y = np.meshgrid(line * aspect, -line)
    normal = np.stack([x, y, np.sqrt(radius**2 - x**2 - y**2)], -1) / radius
    turn = Rotation.from_euler("xyz", [20, -35, 70], degrees=True).as_matrix()
    points = normal * (radius + np.asarray(height))[..., None] if np.ndim(height) else normal * radius
    return (points @ turn.T + (300, -40, 900)).astype(np.float32)


def wave(length: float, amplitude: float = 0.1) -> np.ndarray:
    """(H, H) mm, waves along both axes."""
    t = 2 * np.pi * np.arange(SIZE) * TEXEL / length
    return amplitude * np.sin(t)[:, None] * np.sin(t)[None, :] * 2


EVERYWHERE = np.ones((SIZE, SIZE), bool)
MIDDLE = np.zeros((SIZE, SIZE), bool)
MIDDLE[60:-60, 60:-60] = True


def by_band(bands, name="roughness"):
    return [getattr(band, name) for band in bands]


def test_a_sphere_is_smooth():
    """Its curvature is form, not roughness."""
    assert max(by_band(roughness_by_band(sheet(), EVERYWHERE, MIDDLE))) < 0.002


def test_form_is_left_out():
    """Of a swell of 40 mm and 3 mm height, one Gaussian with this cut-off would leave 0.1 mm."""
    swell = np.tile(3.0 * np.sin(2 * np.pi * np.arange(SIZE) * TEXEL / 40.0), (SIZE, 1))
    assert max(by_band(roughness_by_band(sheet(swell), EVERYWHERE, MIDDLE))) < 0.03


def passed(length: float, low: float, high: float) -> float:
    """Share of a wave's amplitude in a band: the filter's transfer function in closed form."""

    def below(cutoff: float) -> float:
        g = (1 - np.sqrt(0.5)) ** ((cutoff / length) ** 2)  # a Gaussian; 2g - g² is 1/2 at the cut-off
        return 2 * g - g * g

    return below(low) - below(high)


@pytest.mark.parametrize(("band", "length"), [(1, 2.4), (2, 5.4), (3, 11.0)])
def test_a_wave_is_in_its_band(band, length):
    found = by_band(roughness_by_band(sheet(wave(length)), EVERYWHERE, MIDDLE))
    assert max(range(4), key=found.__getitem__) == band
    # Waves along both axes are waves along the diagonals, shorter by √½.
    expected = [0.1 * passed(length / np.sqrt(2), *BANDS[i]) for i in range(4)]
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0.07, atol=0.002)


def test_a_filter_passes_half_at_its_cutoff():
    assert passed(3.0, 0, 3.0) == pytest.approx(0.5)
    ridges = np.tile(0.1 * np.sin(2 * np.pi * np.arange(SIZE) * TEXEL / 3.0), (SIZE, 1))
    below, above = roughness_by_band(sheet(ridges), EVERYWHERE, MIDDLE, [(1.0, 3.0), (3.0, 12.0)])
    assert below.roughness == pytest.approx(0.0707 * passed(3.0, 1.0, 3.0), rel=0.05)
    assert above.roughness == pytest.approx(0.0707 * passed(3.0, 3.0, 12.0), rel=0.05)


def test_texels_may_be_wider_than_high():
    """Ridges of 4 mm in texels of 0.25 mm are of 6 mm in texels of 0.375 mm."""
    ridges = np.tile(0.1 * np.sin(2 * np.pi * np.arange(SIZE) * TEXEL / 4.0), (SIZE, 1))
    wide = by_band(roughness_by_band(sheet(ridges, aspect=1.5, radius=200), EVERYWHERE, MIDDLE))
    expected = [0.0707 * passed(6.0, *BANDS[i]) for i in range(4)]
    np.testing.assert_allclose(wide[1:], expected[1:], rtol=0.05, atol=0.002)


def test_two_measurements_share_the_signal_and_not_the_noise():
    rng = np.random.default_rng(0)
    signal = wave(5.4, 0.05)

    def noisy() -> np.ndarray:
        noise = gaussian_filter(rng.normal(size=signal.shape), 3.0)
        return 0.03 * noise / noise.std()

    first, second = noisy(), noisy()
    bands = agreement_by_band(sheet(signal + first), sheet(signal + second), EVERYWHERE, MIDDLE)
    only = agreement_by_band(sheet(first), sheet(second), EVERYWHERE, MIDDLE)
    band, noise = bands[2], only[2]
    assert band.difference == pytest.approx(noise.difference, rel=0.01)
    assert noise.difference == pytest.approx(np.hypot(noise.roughness, noise.other), rel=0.2)
    assert abs(noise.shared) < 0.3
    assert band.shared > 0.7
    expected = 1 - band.difference**2 / (band.roughness**2 + band.other**2)
    assert band.shared == pytest.approx(expected, rel=1e-5)


def test_the_same_surface_has_all_in_common():
    bands = agreement_by_band(sheet(wave(2.4)), sheet(wave(2.4)), EVERYWHERE, MIDDLE)
    assert by_band(bands, "difference") == [0, 0, 0, 0]
    assert bands[1].shared == 1


def test_holes_do_not_leak_into_what_is_around_them():
    """What lies in them is garbage, and texels within the filter's reach of them are left out."""
    hole = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE / 2)) < 8
    broken = sheet(wave(2.4))
    broken[hole] = np.nan
    whole = by_band(roughness_by_band(sheet(wave(2.4)), EVERYWHERE, MIDDLE))
    around = by_band(roughness_by_band(broken, ~hole, MIDDLE))
    np.testing.assert_allclose(around[:3], whole[:3], atol=0.004)
    assert around[3] < 0.01


def test_what_cannot_be_said_is_none():
    coarse = sheet(wave(6.0))[::2, ::2]  # texels of 0.5 mm
    bands = roughness_by_band(coarse, EVERYWHERE[::2, ::2], MIDDLE[::2, ::2])
    assert [band.roughness is None for band in bands] == [True, False, False, False]
    for region in (np.zeros_like(MIDDLE), ~EVERYWHERE):
        assert by_band(roughness_by_band(sheet(), EVERYWHERE, region)) == [None] * 4
    small = np.zeros_like(MIDDLE)
    small[100:130, 100:130] = True  # 7.5 mm: all of it is within 6 mm of the rim
    bands = agreement_by_band(sheet(), sheet(), small, small)
    assert by_band(bands, "difference")[3] is None
    assert by_band(bands, "difference")[0] == 0
    assert [(band.low, band.high) for band in bands] == list(BANDS)
