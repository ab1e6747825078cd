from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mesoface.errors import LandmarkError
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D, closest_points_to_rays, triangulate
from mesoface.landmarks.triangulation import (
    facing_weight,
    landmark_faces,
    landmark_normals,
    mediapipe_faces,
    nearest_to_rays,
)


def test_meets_the_reference_triangulation(shared):
    golden = np.load(shared("reference/triangulation_golden.npz"))
    cameras = [
        Camera(K, Rt[:, :3], Rt[:, 3], 1000, 1000) for K, Rt in zip(golden["K"], golden["Rt"], strict=True)
    ]
    points = closest_points_to_rays(cameras, golden["keypoints2d"])
    scale = np.abs(golden["points3d"]).max()
    np.testing.assert_allclose(points, golden["points3d"], atol=1e-4 * scale)


def test_recovers_points_and_skips_missing_ones(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(4)
    keypoints = seen_by(cameras, toy_face).points
    keypoints[1:, 7] = np.nan  # one view left
    keypoints[2:, 8] = np.nan  # two left
    points = closest_points_to_rays(cameras, keypoints)
    assert np.isnan(points[7]).all()
    known = np.arange(478) != 7
    np.testing.assert_allclose(points[known], toy_face[known], atol=1e-6)


@pytest.mark.parametrize(
    ("second", "weights", "point"),
    [
        ((0.0, 0, 1), (1.0, 1.0), (0, 1, 0)),  # two skew rays meet half way
        ((0.0, 0, 1), (3.0, 1.0), (0, 0.5, 0)),  # weights pull towards their ray
        ((1.0, 0, 0), (1.0, 1.0), (np.nan,) * 3),  # parallel rays have no point
    ],
)
def test_the_point_nearest_to_two_rays(second, weights, point):
    origins = np.array([[0.0, 0, 0], [0.0, 2, 0]])
    directions = np.array([[(1.0, 0, 0)], [second]])
    found = nearest_to_rays(origins, directions, np.array(weights)[:, None])
    np.testing.assert_allclose(found, [point], atol=1e-12)


def error(solved, truth):
    return np.linalg.norm(solved.points - truth, axis=1)


def test_exact_landmarks_give_exact_points(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras()
    solved = triangulate(cameras, seen_by(cameras, toy_face))
    np.testing.assert_allclose(solved.points, toy_face, atol=1e-6)
    assert np.nanmax(solved.residuals) < 1e-5
    assert not solved.distrusted.any()
    assert solved.weights.min() >= 0
    assert solved.weights.max() <= 1


def test_single_outliers_do_not_drag(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras()
    landmarks = seen_by(cameras, toy_face, noise=1.0)
    rng = np.random.default_rng(1)
    wrong = rng.random(landmarks.weights.shape) < 0.15
    landmarks.points[wrong] += rng.uniform(-120, 120, (wrong.sum(), 2))
    solved = triangulate(cameras, landmarks)
    assert np.median(error(solved, toy_face)) < 0.4
    assert np.quantile(error(solved, toy_face), 0.95) < 1.5
    assert not solved.distrusted.any()


def test_the_guessed_far_side_does_not_count(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras()
    landmarks = seen_by(cameras, toy_face, noise=0.5)
    normals = landmark_normals(toy_face, "mediapipe478", np.zeros(3))
    for v, camera in enumerate(cameras):
        view = camera.center - toy_face
        hidden = (normals * view).sum(1) < 0
        landmarks.points[v, hidden] += 25.0
    solved = triangulate(cameras, landmarks)
    assert np.quantile(error(solved, toy_face), 0.95) < 1.5
    for v, camera in enumerate(cameras):
        away = (normals * (camera.center - toy_face)).sum(1) < -0.5 * np.linalg.norm(camera.center)
        assert (solved.weights[v, away] < 0.05).all()


@pytest.mark.parametrize("pair", [(0, 1), (2, 7), (4, 5), (3, 9), (0, 9)])
def test_two_swapped_cameras_are_named(toy_face, ring_of_cameras, seen_by, pair):
    cameras = ring_of_cameras()
    landmarks = seen_by(cameras, toy_face, noise=2.0)
    i, j = pair
    cameras[i], cameras[j] = cameras[j], cameras[i]
    solved = triangulate(cameras, landmarks)
    assert np.flatnonzero(solved.distrusted).tolist() == sorted(pair)
    assert np.median(error(solved, toy_face)) < 0.8
    assert not solved.weights[list(pair)].any()


def test_swapped_cameras_of_the_real_scan_are_named(scanned):
    capture, landmarks = scanned
    assert not triangulate(capture.cameras, landmarks).distrusted.any()
    for i, j in [(0, 1), (2, 6), (4, 5), (3, 9)]:
        cameras = list(capture.cameras)
        cameras[i], cameras[j] = cameras[j], cameras[i]
        assert np.flatnonzero(triangulate(cameras, landmarks).distrusted).tolist() == [i, j]


def test_a_camera_a_few_pixels_off_stays(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras()
    landmarks = seen_by(cameras, toy_face, noise=1.0)
    K = cameras[3].K.copy()
    K[0, 2] += 3
    cameras[3] = replace(cameras[3], K=K)
    solved = triangulate(cameras, landmarks)
    assert not solved.distrusted.any()
    assert np.median(error(solved, toy_face)) < 0.5


def test_views_without_a_face_are_passed_over(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(5)
    landmarks = seen_by(cameras, toy_face)
    landmarks.points[2], landmarks.weights[2] = np.nan, 0
    solved = triangulate(cameras, landmarks)
    np.testing.assert_allclose(solved.points, toy_face, atol=1e-6)
    assert np.isnan(solved.residuals[2]).all()
    assert not solved.weights[2].any()


def test_a_landmark_in_one_view_only_is_unknown(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(3)
    landmarks = seen_by(cameras, toy_face)
    landmarks.weights[1:, 100] = 0
    solved = triangulate(cameras, landmarks)
    assert np.isnan(solved.points[100]).all()
    assert not solved.weights[:, 100].any()
    np.testing.assert_allclose(np.delete(solved.points, 100, 0), np.delete(toy_face, 100, 0), atol=1e-5)


def test_two_views_are_enough(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(2, reach=15)
    solved = triangulate(cameras, seen_by(cameras, toy_face))
    np.testing.assert_allclose(solved.points, toy_face, atol=1e-5)


def test_the_unit_of_the_world_does_not_matter(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(6)
    landmarks = seen_by(cameras, toy_face, noise=1.5)
    in_mm = triangulate(cameras, landmarks)
    in_m = triangulate([camera.scaled_world(1e-3) for camera in cameras], landmarks)
    np.testing.assert_allclose(in_m.points * 1e3, in_mm.points, atol=1e-4)


def test_one_view_is_an_error(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(3)
    landmarks = seen_by(cameras, toy_face)
    landmarks.weights[1:] = 0
    with pytest.raises(LandmarkError, match="1 of 3 views"):
        triangulate(cameras, landmarks)


def test_views_from_one_direction_are_an_error(toy_face, ring_of_cameras, seen_by):
    camera = ring_of_cameras(3)[1]
    cameras = [replace(camera, t=camera.t + np.array([dx, 0, 0])) for dx in (0, 2, 5)]
    with pytest.raises(LandmarkError, match="same direction"):
        triangulate(cameras, seen_by(cameras, toy_face))


def test_numbers_of_views_must_agree(toy_face, ring_of_cameras, seen_by):
    cameras = ring_of_cameras(3)
    with pytest.raises(ValueError, match="3 cameras"):
        triangulate(cameras, Landmarks2D(np.zeros((2, 478, 2)), np.ones((2, 478))))


def test_mediapipe_mesh_is_consistently_wound():
    faces = mediapipe_faces()
    assert faces.shape == (852, 3)
    edges = Counter((a, b) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))
    assert set(edges.values()) == {1}  # every directed edge once: no two neighbours disagree on the outside


def test_normals_point_out_of_the_face(toy_face):
    normals = landmark_normals(toy_face, "mediapipe478", np.zeros(3))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert (normals[:, 2] > 0).all()
    assert normals[4, 2] > 0.95  # the tip of the nose looks ahead


def test_other_schemes_are_meshed_as_height_fields():
    rng = np.random.default_rng(3)
    sphere = rng.normal(size=(68, 3))
    sphere[:, 2] = np.abs(sphere[:, 2]) + 0.2
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    sphere[5] = np.nan
    normals = landmark_normals(sphere, "ibug68", np.array([0.0, 0, 2]))
    assert not normals[5].any()
    known = np.arange(68) != 5
    assert np.median((normals * sphere)[known].sum(1)) > 0.95


def test_unknown_points_take_their_triangles_along(toy_face):
    points = toy_face.copy()
    points[4] = np.nan
    assert not (landmark_faces(points, "mediapipe478", np.zeros(3)) == 4).any()


@pytest.mark.parametrize(("cosine", "weight"), [(-1, 0), (0.1, 0), (0.3, 0.5), (0.5, 1), (1, 1)])
def test_facing_weight(cosine, weight):
    assert facing_weight(np.array(cosine), 0.1, 0.5) == pytest.approx(weight)
