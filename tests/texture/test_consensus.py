"""Gains between cameras, and photos that contradict the others."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.texture.consensus import find_agreement, solve_gains, solve_offsets


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_offsets_are_found_through_chains_of_overlaps(rng):
    """Neighbours share texels, far ones do not."""
    surface, true = rng.normal(size=600), np.array([0.3, -0.1, 0.2, -0.4])
    seen = np.zeros((4, 600))
    for v in range(4):
        seen[v, 120 * v : 120 * v + 200] = rng.uniform(0.1, 1, 200)
    values = surface + true[:, None] + 0.005 * rng.normal(size=(4, 600))
    np.testing.assert_allclose(solve_offsets(values, seen, 0.1), true - true.mean(), atol=0.005)


def test_outliers_do_not_pull(rng):
    true = np.array([0.2, 0.0, -0.2])
    values = rng.normal(size=400) + true[:, None]
    values[0, :100] += 1.5  # a quarter of one photo is a highlight
    np.testing.assert_allclose(solve_offsets(values, np.ones((3, 400)), 0.1), true, atol=0.01)


def test_who_shares_nothing_keeps_its_own(rng):
    weights = np.ones((3, 50))
    weights[2] = 0
    offsets = solve_offsets(rng.normal(size=50) + np.array([[0.4], [0.0], [7.0]]), weights, 0.1)
    np.testing.assert_allclose(offsets[0] - offsets[1], 0.4, atol=1e-3)
    assert abs(offsets[2]) < 0.3
    np.testing.assert_array_equal(solve_offsets(np.ones((2, 5)), np.zeros((2, 5)), 0.1), 0)


def test_gains_are_by_channel_and_do_not_change_the_mean(rng):
    surface = rng.uniform(0.2, 0.5, (300, 3))
    exposure = np.array([[0.7, 0.8, 0.9], [1.3, 1.2, 1.1]])
    gains = solve_gains(surface * exposure[:, None], np.ones((2, 300)))
    np.testing.assert_allclose(gains * exposure, np.sqrt(exposure.prod(0)) * np.ones((2, 1)), rtol=1e-3)
    np.testing.assert_allclose(gains.prod(0), 1, rtol=1e-6)


def test_clipped_pixels_say_nothing_about_exposure(rng):
    surface = rng.uniform(0.3, 0.9, (500, 3))
    photos = np.minimum(surface * np.array([1.5, 0.8])[:, None, None], 1)
    gains = solve_gains(photos, np.ones((2, 500)))
    np.testing.assert_allclose(gains[0] / gains[1], 0.8 / 1.5, rtol=0.01)


def test_the_photo_that_differs_loses_its_say():
    colors = np.full((8, 2, 2, 3), 0.5)
    colors[1, 0, 0] = 1.0
    found = find_agreement(colors, np.ones((8, 2, 2)))
    assert found.factor[1, 0, 0] < 0.1
    assert np.delete(found.factor[:, 0, 0], 1).min() > 0.9
    assert found.factor[:, 1, 1].min() > 0.99
    assert found.clear[1, 1] == 1


def test_where_all_differ_nobody_is_doubted():
    colors = np.linspace(0, 1, 6)[:, None, None, None] * np.ones((6, 2, 2, 3))
    found = find_agreement(colors, np.ones((6, 2, 2)))
    np.testing.assert_allclose(found.factor, 1, atol=0.1)
    assert found.clear.max() < 0.2


def test_of_two_photos_neither_is_doubted():
    colors = np.stack([np.zeros((3, 3, 3)), np.ones((3, 3, 3))])
    np.testing.assert_array_equal(find_agreement(colors, np.ones((2, 3, 3))).factor, 1)
