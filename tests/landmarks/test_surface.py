from collections import Counter

import numpy as np
import pytest

from mesoface.landmarks.surface import facing_weight, landmark_faces, landmark_normals, mediapipe_faces


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
