"""Cameras: their written errors, noise and defocus are of the requested size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.load import load_capture
from mesoface.lab.synthesis.cameras import defocus, expose, make_rig, miscalibrate, noise_strength
from mesoface.lab.synthesis.capture import photograph, write_capture
from mesoface.lab.synthesis.settings import SynthesisSettings

TINY = {"views": 3, "width": 96, "height": 144, "detail_mm": 5.0, "supersample": 1}


def test_error_is_as_asked_in_the_middle_of_the_face_and_no_worse_than_twice_that_at_its_rim() -> None:
    settings = SynthesisSettings(views=60, width=600, height=900)
    middle = np.array([10.0, -20.0, 30.0])
    cameras = make_rig(middle, 180.0, 160.0, settings, np.random.default_rng(0))
    off = miscalibrate(cameras, middle, 0.4, np.random.default_rng(1))

    def errors(point: np.ndarray) -> np.ndarray:
        pairs = zip(cameras, off, strict=True)
        return np.array([a.project(point)[0] - b.project(point)[0] for a, b in pairs])

    assert np.sqrt((errors(middle) ** 2).sum(1).mean()) == pytest.approx(0.4, rel=0.2)
    assert abs(errors(middle).mean()) < 0.1
    for rim in ([0, 90, 0], [80, 0, 0], [-60, -60, 20]):
        rms = np.sqrt((errors(middle + rim) ** 2).sum(1).mean())
        assert 0.35 < rms < 0.8
    for before, after in zip(cameras, off, strict=True):
        np.testing.assert_allclose(before.center, after.center, atol=1e-6)


def test_photos_are_taken_by_the_true_cameras_and_the_others_written_down(tmp_path: Path) -> None:
    exact = photograph(seed=9, settings=SynthesisSettings(**TINY))
    assert exact.calibration is exact.cameras
    off = photograph(seed=9, settings=SynthesisSettings(**TINY, calibration_px=0.5))
    for a, b in zip(exact.photos, off.photos, strict=True):
        np.testing.assert_array_equal(a, b)
    for true, written in zip(off.cameras, off.calibration, strict=True):
        assert np.abs(true.P - written.P).max() > 1e-4
    write_capture(tmp_path, off, "generic")
    for view, written in zip(load_capture(tmp_path).views, off.calibration, strict=True):
        np.testing.assert_allclose(view.camera.R, written.R, atol=1e-12)


@pytest.mark.parametrize("levels", [0.5, 2.0, 8.0])
def test_noise_of_a_mid_grey_is_as_asked(levels: float) -> None:
    noise = noise_strength(levels)
    settings = SynthesisSettings(noise=noise, exposure_jitter=0, white_balance_jitter=0, views=2)
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
