"""How many views are worth their time, and which."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.captures.capture import Capture, View
from mesoface.landmarks import next_best_view as module
from mesoface.landmarks import triangulate
from mesoface.landmarks.next_best_view import FEWEST, MOST, Prediction, choose_views


@pytest.fixture
def shoot(toy_face, ring_of_cameras, seen_by):
    """``shoot(16, 0.25)`` → 16 views of noise, 216 pixels wide; their landmarks in 2D and in 3D."""

    def made(views, scale=0.25, keep=None):
        cameras = [camera.scaled(scale) for camera in ring_of_cameras(views)]
        cameras = [cameras[i] for i in keep or range(views)]
        size = (cameras[0].height, cameras[0].width, 3)
        grain = np.random.default_rng(0).random(size, dtype=np.float32)
        capture = Capture(tuple(View(f"v{i}", grain, camera) for i, camera in enumerate(cameras)))
        landmarks = seen_by(cameras, toy_face)
        return capture, landmarks, triangulate(cameras, landmarks)

    return made


@pytest.mark.parametrize("views", [2, 5, FEWEST])
def test_a_few_views_are_all_used(shoot, views):
    choice = choose_views(*shoot(views))
    assert choice.views == tuple(range(views))
    assert choice.note is None


def test_of_many_views_those_worth_their_time_are_used_and_the_note_says_why(shoot, monkeypatch):
    monkeypatch.setattr(module, "_WORTH", 0.03)
    choice = choose_views(*shoot(40))
    assert FEWEST <= len(choice.views) < MOST
    assert list(choice.views) == sorted(set(choice.views))
    assert choice.note.startswith(f"{len(choice.views)} of 40 usable views are used: another would lower")
    assert "too little for its time" in choice.note
    assert 0 < choice.gain < 0.05
    assert 1 < choice.error < 1.5


def test_the_order_of_the_views_does_not_matter(shoot):
    capture, landmarks, solved = shoot(23)
    order = np.random.default_rng(4).permutation(23)
    turned = replace(
        solved,
        weights=solved.weights[order],
        residuals=solved.residuals[order],
        distrusted=solved.distrusted[order],
    )
    names = {capture.names[v] for v in choose_views(capture, landmarks, solved).views}
    other = capture.select(order.tolist())
    assert {other.names[v] for v in choose_views(other, landmarks.select(order), turned).views} == names


def test_distrusted_and_faceless_views_are_never_chosen(shoot):
    capture, landmarks, solved = shoot(16)
    solved.distrusted[3] = True
    landmarks.weights[9] = 0
    choice = choose_views(capture, landmarks, solved)
    assert choice.usable == 14
    assert not {3, 9} & set(choice.views)


def test_blurred_views_are_the_last_to_be_chosen(shoot):
    capture, landmarks, solved = shoot(20)
    soft = range(1, 20, 2)
    views = list(capture.views)
    for v in soft:
        views[v] = replace(views[v], image=cv2.GaussianBlur(views[v].image, (0, 0), 3))
    before = set(choose_views(capture, landmarks, solved).views)
    after = set(choose_views(Capture(tuple(views)), landmarks, solved).views)
    assert len(after & set(soft)) < len(before & set(soft))


def test_the_few_views_of_a_side_are_used(shoot):
    """Skin that fewer than two views see counts most."""
    capture, landmarks, solved = shoot(40, keep=[*range(22), 38, 39])
    assert {22, 23} <= set(choose_views(capture, landmarks, solved).views)


def test_large_photos_cost_more_and_fewer_are_used(shoot, monkeypatch):
    monkeypatch.setattr(module, "_WORTH", 0.03)
    small, large = choose_views(*shoot(40, 0.2)), choose_views(*shoot(40, 1.0))
    assert len(large.views) < len(small.views)


def test_there_is_a_bound(shoot, monkeypatch):
    monkeypatch.setattr(module, "_WORTH", 0.0)
    choice = choose_views(*shoot(MOST + 6))
    assert len(choice.views) == MOST
    assert "the most of --views auto" in choice.note


def test_all_are_used_where_the_last_one_is_still_worth_it(shoot, monkeypatch):
    monkeypatch.setattr(module, "_WORTH", 0.0)
    choice = choose_views(*shoot(FEWEST + 3))
    assert choice.views == tuple(range(FEWEST + 3))
    assert choice.note is None


@pytest.fixture
def facing():
    """A triangle seen from straight ahead, and under ± 30°; nothing is known of it without two views."""
    slides = np.array([[[0.0, 0, 0]], [[np.tan(np.pi / 6), 0, 0]], [[-np.tan(np.pi / 6), 0, 0]]])
    return Prediction(slides, np.full((3, 1), 4.0), np.ones(1), 1e-6, np.ones(3))


def test_one_view_or_views_from_one_place_say_nothing(facing):
    assert facing.expected_error([0]) == pytest.approx(1e3)
    assert facing.expected_error([1, 1, 1]) == pytest.approx(1e3)


def test_the_error_is_that_of_least_squares(facing):
    """Texture and displacement, solved from three brightnesses with noise: the covariance of the latter."""
    columns = np.stack([np.ones(3), facing.slides[:, 0, 0]], 1)
    covariance = np.linalg.inv(columns.T @ columns * 4.0)
    assert facing.expected_error([0, 1, 2]) == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-4)
    assert facing.expected_error([0, 1, 2] * 4) == pytest.approx(np.sqrt(covariance[1, 1]) / 2, rel=1e-4)


def test_the_pair_with_the_widest_baseline_comes_first(facing):
    assert facing.best_pair() == [1, 2]


def test_unseen_skin_counts_with_the_error_of_the_blind(facing):
    both = replace(
        facing,
        slides=np.repeat(facing.slides, 2, 1),
        weights=np.array([[4.0, 4.0], [4.0, 0.0], [4.0, 0.0]]),
        areas=np.array([3.0, 1.0]),
    )
    seen = facing.expected_error([0, 1, 2])
    assert both.expected_error([0, 1, 2]) == pytest.approx((3 * seen + 1e3) / 4, rel=1e-6)
