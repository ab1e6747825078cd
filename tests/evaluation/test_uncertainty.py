"""Calibration of stated uncertainties against errors drawn with known ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mesoface.evaluation.uncertainty import NORMAL_SHARES, calibrate_uncertainty

RNG = np.random.default_rng(3)
SIGMA = RNG.uniform(0.05, 0.5, (200, 200))
ERROR = RNG.normal(size=SIGMA.shape) * SIGMA


def test_right_uncertainties_are_calibrated():
    found = calibrate_uncertainty(SIGMA, ERROR)
    assert found.within_1 == pytest.approx(NORMAL_SHARES[0], abs=0.01)
    assert found.within_2 == pytest.approx(NORMAL_SHARES[1], abs=0.005)
    assert found.ratio == pytest.approx(1, abs=0.03)
    assert found.sigma == pytest.approx(found.error, rel=0.03)
    assert found.correlation > 0.4
    assert found.rank_correlation > 0.4
    assert found.count == SIGMA.size


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_wrong_ones_are_not_and_the_factor_is_found(factor):
    found = calibrate_uncertainty(factor * SIGMA, np.abs(ERROR))
    assert found.ratio == pytest.approx(1 / factor, rel=0.03)
    assert found.within_1 == pytest.approx({0.5: 0.383, 2.0: 0.954}[factor], abs=0.01)
    assert found.correlation == pytest.approx(calibrate_uncertainty(SIGMA, ERROR).correlation)


def test_uncertainties_in_the_wrong_places_do_not_follow_the_errors():
    found = calibrate_uncertainty(np.roll(SIGMA, 77), ERROR)
    assert abs(found.correlation) < 0.02
    assert abs(found.rank_correlation) < 0.02


def test_places_where_one_is_unknown_do_not_count():
    sigma, error = SIGMA.copy(), ERROR.copy()
    sigma[:50], sigma[50:70] = np.nan, 0
    error[190:] = np.nan
    found = calibrate_uncertainty(sigma, error)
    assert found == calibrate_uncertainty(SIGMA[70:190], ERROR[70:190])


def test_a_constant_has_no_correlation():
    found = calibrate_uncertainty(np.full(9, 0.1, np.float32), ERROR[0, :9])
    assert (found.correlation, found.rank_correlation) == (None, None)
    assert json.loads(json.dumps(found.to_dict()))["correlation"] is None
    assert "correlation" not in str(found)


def test_it_says_what_was_expected():
    said = str(calibrate_uncertainty(2 * SIGMA, ERROR))
    assert said.startswith("96 % of the errors within 1 σ (68 % expected), 100 % within 2 σ (95 % expected)")


@pytest.mark.parametrize(
    ("sigma", "error", "words"),
    [
        (SIGMA[:3], ERROR, "standard deviations for"),
        (-SIGMA, ERROR, "is negative"),
        (0 * SIGMA, ERROR, "no place has both"),
        (SIGMA, np.full(SIGMA.shape, np.nan), "no place has both"),
    ],
)
def test_what_cannot_be_compared_is_refused(sigma, error, words):
    with pytest.raises(ValueError, match=words):
        calibrate_uncertainty(sigma, error)
