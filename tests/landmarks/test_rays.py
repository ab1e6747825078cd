import numpy as np
import pytest

from mesoface.geometry.camera import Camera
from mesoface.landmarks import closest_points_to_rays
from mesoface.landmarks.rays import nearest_to_rays


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


def test_two_skew_rays_meet_half_way():
    origins = np.array([[0.0, 0, 0], [0.0, 2, 0]])
    directions = np.array([[[1.0, 0, 0]], [[0.0, 0, 1]]])
    np.testing.assert_allclose(nearest_to_rays(origins, directions, np.ones((2, 1))), [[0, 1, 0]], atol=1e-12)


def test_weights_pull_towards_their_ray():
    origins = np.array([[0.0, 0, 0], [0.0, 2, 0]])
    directions = np.array([[[1.0, 0, 0]], [[0.0, 0, 1]]])
    point = nearest_to_rays(origins, directions, np.array([[3.0], [1.0]]))
    assert point[0, 1] == pytest.approx(0.5)


def test_parallel_rays_have_no_point():
    origins = np.array([[0.0, 0, 0], [0.0, 2, 0]])
    directions = np.array([[[0.0, 0, 1]], [[0.0, 0, 1]]])
    assert np.isnan(nearest_to_rays(origins, directions, np.ones((2, 1)))).all()
