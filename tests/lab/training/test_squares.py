"""Squares for tiles: rather where the surface is rough, never where the truth is not known."""

from __future__ import annotations

import numpy as np

from mesoface.lab.training.squares import choose_squares


def test_rough_places_come_more_often_and_flat_ones_still_come() -> None:
    tilt = np.full((80, 80), 0.02, np.float32)
    tilt[10:30, 40:60] = 0.9
    rough = 0
    for seed in range(300):
        ((row, column),) = choose_squares(tilt, 16, 1, np.random.default_rng(seed))
        assert 0 <= row <= 64
        assert 0 <= column <= 64
        rough += 0 < row < 28 and 28 < column < 58
    assert 0.3 < rough / 300 < 0.9  # 14 % of the squares


def test_most_of_a_square_is_known() -> None:
    tilt = np.full((60, 60), np.nan, np.float32)
    tilt[20:45, 5:30] = 0.1
    for seed in range(100):
        for row, column in choose_squares(tilt, 20, 3, np.random.default_rng(seed)):
            assert np.isfinite(tilt[row : row + 20, column : column + 20]).mean() >= 0.4


def test_squares_of_one_map_lie_side_by_side() -> None:
    tilt = np.full((64, 64), 0.2, np.float32)
    overlaps = []
    for seed in range(60):
        squares = np.array(choose_squares(tilt, 16, 4, np.random.default_rng(seed)))
        apart = np.abs(squares[:, None] - squares[None]).max(-1)[np.triu_indices(4, 1)]
        overlaps.append((apart <= 8).mean())
    assert np.mean(overlaps) < 0.03  # some 7 % by chance


def test_same_chance_same_squares_and_none_where_nothing_is_known() -> None:
    tilt = np.random.default_rng(0).uniform(0, 1, (50, 40)).astype(np.float32)
    twice = [choose_squares(tilt, 16, 5, np.random.default_rng(3)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(twice[0]) == 5
    assert choose_squares(np.full((50, 40), np.nan, np.float32), 16, 5, np.random.default_rng(3)) == []
    assert choose_squares(tilt, 40, 1, np.random.default_rng(3))[0][1] == 0


def test_a_square_as_large_as_the_map() -> None:
    assert choose_squares(np.ones((16, 16), np.float32), 16, 1, np.random.default_rng(0)) == [(0, 0)]
    assert choose_squares(np.ones((12, 16), np.float32), 16, 1, np.random.default_rng(0)) == []
