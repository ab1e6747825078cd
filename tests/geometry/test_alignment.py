import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mesoface.geometry.alignment import align_points, align_points_robustly


def cloud(seed=0, n=40):
    return np.random.default_rng(seed).normal(0, (50, 70, 30), (n, 3)) + np.array([10, -20, 300])


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_a_similarity_is_recovered(seed, scale):
    rng = np.random.default_rng(seed)
    R, t = Rotation.random(random_state=seed).as_matrix(), rng.normal(0, 100, 3)
    points = cloud(seed)
    motion = align_points(points, scale * points @ R.T + t)
    assert np.allclose(motion.R, R, atol=1e-9)
    assert np.allclose(motion.t, t, atol=1e-6 * max(scale, 1) * 300)
    assert motion.scale == pytest.approx(scale)
    assert np.allclose(motion.apply(points), scale * points @ R.T + t, atol=1e-6 * max(scale, 1))


def test_a_mirrored_cloud_gets_a_rotation_never_a_reflection():
    points = cloud()
    assert np.linalg.det(align_points(points, points * (-1, 1, 1)).R) == pytest.approx(1)


def test_a_fixed_scale_stays_and_weights_choose_the_points():
    points = cloud()
    target = points * 3 + 7
    assert align_points(points, target, scale=1.0).scale == 1.0
    target[:5] += 1000
    weights = np.r_[np.zeros(5), np.ones(35)]
    assert np.allclose(align_points(points, target, weights=weights).t, 7)


def test_outliers_do_not_drag_the_robust_alignment():
    points = cloud()
    target = points * 2 + 5
    target[::4] += np.random.default_rng(1).normal(0, 200, (10, 3))
    motion = align_points_robustly(points, target)
    assert np.abs(motion.apply(points) - (points * 2 + 5)).max() < 0.5


@pytest.mark.parametrize("points", [cloud(n=2), np.outer(np.arange(5.0), (1, 2, 3))], ids=["two", "line"])
def test_what_does_not_determine_an_alignment_is_refused(points):
    with pytest.raises(ValueError, match=r"three points|on a line"):
        align_points(points, points)
