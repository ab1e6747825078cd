import numpy as np

from mesoface.landmarks.candidates import choose_main_face, face_size, without_doubles


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
