import numpy as np
import pytest

from mesoface.matching.pairs import baseline_angles, choose_pairs


@pytest.fixture
def arc(scenes):
    """``arc(-30, 0, 30)`` → cameras at these yaw angles, and the point they look at."""

    def make(*yaws):
        cameras = [scenes.camera(float(yaw)) for yaw in yaws]
        return cameras, np.array([0, 0, 70.0])

    return make


def test_angles_are_those_between_the_lines_of_sight(arc):
    cameras, center = arc(-40, 0, 25)
    expected = [[0, 40, 65], [40, 0, 25], [65, 25, 0]]
    np.testing.assert_allclose(np.degrees(baseline_angles(cameras, center)), expected, atol=1e-5)


@pytest.mark.parametrize("yaws", [(0, 60), (0, 0.5), (0, 2, 4, 90), tuple(range(-60, 61, 4))])
def test_every_view_gets_its_partners(arc, yaws):
    pairs = choose_pairs(*arc(*yaws))
    partners = np.bincount(np.ravel(pairs), minlength=len(yaws))
    assert partners.min() >= min(2, len(yaws) - 1)
    assert all(i < j for i, j in pairs)
    assert pairs == sorted(set(pairs))


def test_two_views_make_one_pair(arc):
    assert choose_pairs(*arc(-10, 10)) == [(0, 1)]


def test_the_best_angle_is_preferred(arc):
    """Nine views at 11°: with few pairs allowed those two apart are taken, not neighbours."""
    yaws = np.arange(9) * 11.0
    pairs = choose_pairs(*arc(*yaws), limit=9)
    gaps = [j - i for i, j in pairs]
    assert gaps.count(2) == 7  # all there are
    narrow = choose_pairs(*arc(*yaws), limit=9, best_deg=11.0)
    assert [j - i for i, j in narrow].count(1) == 8


def test_the_limit_holds_but_for_what_is_owed(arc):
    cameras, center = arc(*range(-60, 61, 4))
    assert len(choose_pairs(cameras, center, limit=40)) == 40
    owed = choose_pairs(cameras, center, limit=0)
    assert len(owed) >= len(cameras)
    assert np.bincount(np.ravel(owed)).min() >= 2


def test_useless_angles_only_where_nothing_else_is_owed(arc):
    cameras, center = arc(-30, -15, 0, 1, 15, 30)
    pairs = choose_pairs(cameras, center, limit=100)
    assert (2, 3) not in pairs  # 1°
    assert (0, 5) not in pairs  # 60°
    assert (0, 4) in pairs  # 45°


def test_same_cameras_same_pairs(arc):
    cameras, center = arc(*range(-60, 61, 8))
    assert choose_pairs(cameras, center) == choose_pairs(list(cameras), center.copy())


def test_cameras_at_one_place_are_paired_without_a_fault(arc):
    assert choose_pairs(*arc(0, 0, 0), limit=3) == [(0, 1), (0, 2), (1, 2)]
