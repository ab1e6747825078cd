import cv2
import numpy as np
import pytest

from mesoface.captures.capture import Capture, View
from mesoface.errors import LandmarkError
from mesoface.geometry.mesh import unit
from mesoface.landmarks import select_views, triangulate
from mesoface.landmarks.selection import (
    choose_main_face,
    face_axes,
    face_sharpness,
    face_size,
    farthest_points,
    share_inside,
    without_doubles,
)


@pytest.fixture
def textured(toy_face, ring_of_cameras, seen_by):
    """Ten views of noise (the landmarks are the face), their landmarks in 2D and 3D."""
    rng = np.random.default_rng(0)
    cameras = [camera.scaled(0.25) for camera in ring_of_cameras(10)]
    grain = rng.random((324, 216, 3)).astype(np.float32)
    capture = Capture(tuple(View(f"v{i}", grain.copy(), camera) for i, camera in enumerate(cameras)))
    landmarks = seen_by(cameras, toy_face)
    return capture, landmarks, triangulate(cameras, landmarks)


def test_the_choice_is_spread_and_repeatable(textured):
    capture, landmarks, solved = textured
    chosen = select_views(capture, landmarks, solved, 3)
    assert chosen in ([0, 4, 9], [0, 5, 9])  # a frontal one and both ends of the arc
    assert chosen == select_views(capture, landmarks, solved, 3)
    assert select_views(capture, landmarks, solved, 10) == list(range(10))
    assert select_views(capture, landmarks, solved, 50) == list(range(10))


def test_distrusted_and_faceless_views_are_never_chosen(textured):
    capture, landmarks, solved = textured
    solved.distrusted[0] = True
    landmarks.weights[9] = 0
    assert set(select_views(capture, landmarks, solved, 10)) == set(range(1, 9))
    assert not {0, 9} & set(select_views(capture, landmarks, solved, 4))


def test_of_two_like_views_the_sharp_one_is_chosen(textured):
    capture, landmarks, solved = textured
    views = list(capture.views)
    front = 4
    views[front] = View("soft", cv2.GaussianBlur(views[front].image, (0, 0), 3), views[front].camera)
    chosen = select_views(Capture(tuple(views)), landmarks, solved, 3)
    assert chosen == [0, 5, 9]


def test_sharpness_falls_with_blur_and_ignores_gain(textured):
    capture, landmarks, _ = textured
    view, points = capture.views[5], landmarks.points[5]
    sharp = face_sharpness(view.image, points)
    assert face_sharpness(cv2.GaussianBlur(view.image, (0, 0), 2), points) < 0.2 * sharp
    assert face_sharpness(view.image * np.float32(0.4), points) == pytest.approx(sharp, rel=1e-3)


def test_share_inside(textured):
    capture, landmarks, _ = textured
    assert share_inside(capture.views[0], landmarks.points[0]) == 1.0
    assert share_inside(capture.views[0], landmarks.points[0] + [1000, 0]) == 0.0
    assert share_inside(capture.views[0], np.full((478, 2), np.nan)) == 0.0


def test_face_axes_follow_the_subject(textured):
    axes = face_axes(textured[2])
    np.testing.assert_allclose(axes, np.eye(3), atol=0.02)


def test_face_axes_need_eye_corners_and_chin(textured):
    solved = textured[2]
    solved.points[152] = np.nan
    with pytest.raises(LandmarkError, match="chin"):
        face_axes(solved)


def test_farthest_points_start_where_they_are_told():
    directions = unit(np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]]))
    assert farthest_points(directions, 2, 0) == [0, 4]
    assert farthest_points(directions, 9, 1)[0] == 1
    assert sorted(farthest_points(directions, 9, 1)) == [0, 1, 2, 3, 4]


def faces_of(cameras, *heads):
    return [[camera.project(head)[0] for head in heads] for camera in cameras]


def test_the_larger_of_two_people_is_chosen_in_every_view(toy_face, ring_of_cameras):
    cameras = ring_of_cameras(5, 30)
    behind = toy_face * 0.9 + [60, 30, -200]
    found = faces_of(cameras, behind, toy_face)
    assert choose_main_face(cameras, found) == [1] * 5


def test_one_person_is_followed_though_another_looks_larger_once(toy_face, ring_of_cameras):
    cameras = ring_of_cameras(5, 30)
    found = faces_of(cameras, toy_face)
    size = face_size(found[2][0])
    stray = found[2][0] * 1.3 + [2 * size, 0]
    found[2] = [stray - stray.mean(0) + [432, 100], found[2][0]]
    assert choose_main_face(cameras, found) == [0, 0, 1, 0, 0]


def test_views_without_a_face_have_no_choice(toy_face, ring_of_cameras):
    cameras = ring_of_cameras(3)
    found = faces_of(cameras, toy_face)
    found[1] = []
    assert choose_main_face(cameras, found) == [0, None, 0]


def test_the_same_face_found_twice_counts_once():
    rng = np.random.default_rng(0)
    face = rng.uniform(100, 300, (478, 3))
    assert len(without_doubles([face, face + 5, face + np.array([400, 0, 0])])) == 2
