import json

import numpy as np
import pytest

from mesoface.errors import LandmarkError
from mesoface.landmarks import Landmarks2D, read_landmarks
from mesoface.landmarks.from_file import write_landmarks


@pytest.fixture
def capture(make_capture):
    return make_capture(views=3)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return np.round(rng.uniform(10, 90, (68, 2)), 3).tolist()


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_json(tmp_path, capture, rows):
    rows[3] = None
    path = write(tmp_path / "l.json", {"scheme": "ibug68", "views": {"2": rows, "0": rows}})
    landmarks = read_landmarks(path, capture)
    assert landmarks.scheme == "ibug68"
    assert landmarks.found.tolist() == [True, False, True]
    assert np.isnan(landmarks.points[0, 3]).all()
    assert landmarks.weights[0, 3] == 0
    np.testing.assert_array_equal(landmarks.points[2, 4], rows[4])
    assert np.isnan(landmarks.points[1]).all()


def test_npz_with_weights(tmp_path, capture):
    points = np.random.default_rng(0).uniform(0, 90, (2, 478, 2)).astype(np.float32)
    weights = np.full((2, 478), 0.5)
    path = tmp_path / "l.npz"
    np.savez(path, scheme="mediapipe478", views=np.array(["1", "0"]), points=points, weights=weights)
    landmarks = read_landmarks(path, capture)
    np.testing.assert_allclose(landmarks.points[0], points[1])
    assert landmarks.weights[1, 0] == 0.5
    assert landmarks.weights.dtype == landmarks.points.dtype == np.float64


def test_written_landmarks_are_read_back(tmp_path, capture, rows):
    points = np.tile(np.array(rows), (3, 1, 1))
    weights = np.ones((3, 68))
    points[1], weights[1] = np.nan, 0
    points[0, 5], weights[0, 5] = np.nan, 0
    write_landmarks(tmp_path / "l.json", capture, Landmarks2D(points, weights, "ibug68"))
    back = read_landmarks(tmp_path / "l.json", capture)
    np.testing.assert_allclose(back.points, points, atol=1e-3)
    np.testing.assert_array_equal(back.weights, weights)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ([1], "expected"),
        ({"scheme": "ibug68"}, "expected"),
        ({"scheme": "dlib5", "views": {}}, "unknown scheme 'dlib5'"),
        ({"scheme": "ibug68", "views": {"nine": []}}, "'nine'"),
        ({"scheme": "ibug68", "views": {"0": [[1, 2]]}}, "1 points"),
        ({"scheme": "ibug68", "views": {"0": {"a": 1}}}, "view 0"),
        ({"scheme": "ibug68", "views": {"0": [[1, 2, 3]] * 68}}, "point 0"),
        ({"scheme": "ibug68", "views": {"0": [["x", 2]] * 68}}, "point 0"),
        ({"scheme": "ibug68", "views": {"0": [[float("nan"), 2]] * 68}}, "point 0"),
        ({"scheme": "ibug68", "views": {"0": [[10**400, 2]] * 68}}, "point 0"),
        ({"scheme": "ibug68", "views": {"0": [[9e9, 2]] * 68}}, "far outside"),
        ({"scheme": "ibug68", "views": {"0": [[1, 2]] * 68}}, r"1 view"),
        ({"scheme": "ibug68", "views": {"0": [None] * 68, "1": [[5, 5]] * 68}}, r"1 view"),
    ],
)
def test_bad_json_is_named(tmp_path, capture, content, said):
    path = write(tmp_path / "l.json", content)
    with pytest.raises(LandmarkError, match=said) as caught:
        read_landmarks(path, capture)
    assert caught.value.path == path
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scheme": None, "views": None}, "has no array scheme, views"),
        ({"views": np.array(["0"])}, "points are"),
        ({"points": np.zeros((2, 68, 3))}, "shape"),
        ({"weights": np.ones(3)}, "weights are"),
        ({"weights": np.full((2, 68), 7.0)}, "not in"),
        ({"views": np.array([object()])}, "npz"),
    ],
)
def test_bad_npz_is_named(tmp_path, capture, change, said):
    path = tmp_path / "l.npz"
    arrays = {"scheme": "ibug68", "views": np.array(["0", "1"]), "points": np.zeros((2, 68, 2)), **change}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(LandmarkError, match=said):
        read_landmarks(path, capture)


def test_truncated_npz(tmp_path, capture):
    path = tmp_path / "l.npz"
    path.write_bytes(b"PK\x03\x04 not much of a zip")
    with pytest.raises(LandmarkError, match="NPZ"):
        read_landmarks(path, capture)


@pytest.mark.parametrize("name", ["missing.json", "l.txt"])
def test_wrong_file(tmp_path, capture, name):
    if name == "l.txt":
        (tmp_path / name).write_text("")
    with pytest.raises(LandmarkError, match=r"no such file|unknown kind"):
        read_landmarks(tmp_path / name, capture)
