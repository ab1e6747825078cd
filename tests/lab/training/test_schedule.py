"""The learning rate as a function of the step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mesoface.lab.training.config import OptimizerSettings
from mesoface.lab.training.schedule import learning_rate


def test_warm_up_then_down_to_the_share_asked_for():
    settings = OptimizerSettings(rate=1.0, warmup=10, final_rate=0.1)
    rates = [learning_rate(step, 110, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55, abs=0.01), "half way down"
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_constant_stays():
    settings = OptimizerSettings(rate=0.5, warmup=0, schedule="constant")
    assert {learning_rate(step, 7, settings) for step in range(7)} == {0.5}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_shorter_than_the_warm_up(steps):
    rates = [learning_rate(step, steps, OptimizerSettings(rate=1.0, warmup=4)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
