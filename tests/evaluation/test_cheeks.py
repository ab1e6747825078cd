"""The cheeks lie where they should, on any surface that has the landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.evaluation import cheeks
from mesoface.face_models.loading import load_generic
from mesoface.face_models.model import base_mesh
from mesoface.landmarks.types import Landmarks3D
from mesoface.uvd.space import build_uvd_space

SIZE = 128
INSIDE, OUTSIDE = (50, 280, 205, 425), (4, 13, 33, 263, 151, 199, 234, 454, 64, 294)  # MediaPipe's


@pytest.fixture(scope="module")
def mean_face():
    """Position map, mask and landmarks of the generic model's mean face."""
    model = load_generic()
    mesh, topology = base_mesh(model, model.mean), model.topology
    space = build_uvd_space(mesh, topology.facial, SIZE)
    points = np.full((478, 3), np.nan)
    corners = mesh.vertices[mesh.faces[topology.landmark_faces["mediapipe478"]]]
    bary = topology.landmark_bary["mediapipe478"]
    points[topology.landmark_ids["mediapipe478"]] = np.einsum("lk,lkc->lc", bary, corners)
    return space.position, space.valid, points


def landmarks(points, scheme="mediapipe478"):
    ones = np.ones((2, len(points)))
    return Landmarks3D(points, ones, ones, np.zeros(2, bool), scheme)


def test_landmarks_on_the_cheeks_are_inside_and_others_are_not(mean_face):
    position, valid, points = mean_face
    region = cheeks(position, valid, landmarks(points))
    for ids, expected in ((INSIDE, True), (OUTSIDE, False)):
        for point in points[list(ids)]:
            distance = np.where(valid, np.linalg.norm(position - point, axis=-1), np.inf)
            assert region.flat[distance.argmin()] == expected
    area = region.sum() / valid.sum()
    assert 0.05 < area < 0.2
    assert (region == region[:, ::-1]).mean() > 0.97


def test_a_cheek_that_is_not_there_is_left_out(mean_face):
    position, valid, points = mean_face
    one_lost, away = points.copy(), points.copy()
    one_lost[117] = np.nan
    away[346] += 20
    whole = cheeks(position, valid, landmarks(points))
    left, right = whole.copy(), whole.copy()
    left[:, : SIZE // 2], right[:, SIZE // 2 :] = False, False
    np.testing.assert_array_equal(cheeks(position, valid, landmarks(one_lost)), left)
    np.testing.assert_array_equal(cheeks(position, valid, landmarks(away)), right)


def test_without_mediapipe_s_landmarks_there_are_no_cheeks(mean_face):
    position, valid, points = mean_face
    assert not cheeks(position, valid, landmarks(points[:68], "ibug68")).any()
    assert not cheeks(position, valid, landmarks(points[:6])).any()
    assert not cheeks(position, np.zeros_like(valid), landmarks(points)).any()
