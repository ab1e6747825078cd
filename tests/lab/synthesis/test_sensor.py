"""The sensor: noise of the asked strength, defocus, and what neither changes."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.lab.synthesis.cameras import defocus, expose, noise_strength
from mesoface.lab.synthesis.settings import SynthesisSettings


@pytest.mark.parametrize("levels", [0.5, 2.0, 8.0])
def test_noise_of_a_mid_grey_is_as_asked(levels: float) -> None:
    settings = SynthesisSettings(
        noise=noise_strength(levels), exposure_jitter=0, white_balance_jitter=0, views=2
    )
    photo = expose(np.full((200, 200, 3), 0.18, np.float32), 1.0, settings, np.random.default_rng(0))
    assert photo.astype(float).std() == pytest.approx(np.hypot(levels, 1 / np.sqrt(12)), rel=0.06)


def test_defocus_spreads_light_and_keeps_its_sum() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1.0
    spreads = []
    for seed in range(200):
        soft = defocus(point, 1.2, np.random.default_rng(seed))
        assert soft.sum() == pytest.approx(3, rel=1e-3)
        offset = np.arange(41) - 20
        spreads.append(np.sqrt((soft[..., 0].sum(0) * offset**2).sum()))
    assert np.median(spreads) == pytest.approx(1.2, rel=0.1)
    assert np.std(spreads) > 0.2  # each view has its own
    assert defocus(point, 0.0, np.random.default_rng(0)) is point
