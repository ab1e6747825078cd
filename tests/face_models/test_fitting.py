from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.errors import LandmarkError
from mesoface.face_models import fit_face, fit_landmarks3d
from mesoface.face_models.fitting import ImageLandmarks, SpatialLandmarks

SCHEME = "mediapipe478"
R = Rotation.from_euler("xyz", [6, -9, 4], degrees=True).as_matrix()
T = np.array([4.0, -7.0, 11.0])


@pytest.fixture
def face(toy, ring, observe):
    """``face(z, views=6, noise=0, unit_mm=1)`` → model, cameras, vertices, landmarks found and placed.

    ``z`` are the coefficients, or the seed of random ones.
    """

    def make(z, views=6, noise=0.0, unit_mm=1.0, bounded=False):
        model, cameras = toy(bounded=bounded), ring(views, unit_mm=unit_mm)
        z = np.random.default_rng(z).normal(size=9) if isinstance(z, int) else z
        vertices = (model.shape(z[:6], z[6:]) @ R.T + T) / unit_mm
        points = model.topology.landmark_points(SCHEME, vertices)
        return model, cameras, vertices, *observe(cameras, points, model.topology.landmark_ids[SCHEME], noise)

    return make


def distance(fit, vertices):
    return np.linalg.norm(fit.vertices - vertices, axis=1)


def numeric_gradient(cost, points, step=1e-5):
    out = np.zeros_like(points)
    for index in np.ndindex(points.shape):
        moved = points.copy()
        moved[index] += step
        up = cost(moved)
        moved[index] -= 2 * step
        out[index] = (up - cost(moved)) / (2 * step)
    return out


def test_image_landmarks_gradient_is_the_derivative_of_the_cost(ring):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 30, (7, 3))
    cameras = ring(3)
    pixels = np.stack([c.project(points)[0] for c in cameras]) + rng.normal(0, 8, (3, 7, 2))
    pixels[0, 2] = np.nan
    measured = ImageLandmarks.of(cameras, pixels, rng.uniform(0, 1, (3, 7)), rng.uniform(1, 4, (3, 7)))
    local = measured.at(points)
    assert np.allclose(local.gradient, numeric_gradient(lambda p: measured.at(p).cost, points), atol=1e-6)
    assert (np.linalg.eigvalsh(local.hessian) > -1e-12).all()
    assert np.isnan(measured.residuals(points)[0, 2])
    assert np.isfinite(measured.residuals(points)[1:]).all()


def test_spatial_landmarks_gradient_is_the_derivative_of_the_cost():
    rng = np.random.default_rng(1)
    points = rng.normal(0, 30, (5, 3))
    target = points + rng.normal(0, 3, (5, 3))
    target[3] = np.nan
    measured = SpatialLandmarks(target, np.array([1, 0.5, 1, 0, 1.0]), np.full(5, 1.5))
    local = measured.at(points)
    assert np.allclose(local.gradient, numeric_gradient(lambda p: measured.at(p).cost, points), atol=1e-6)
    assert not local.gradient[3].any()


def test_linear_model_points_have_the_derivative_they_say(toy):
    model = toy()
    rng = np.random.default_rng(2)
    z = rng.normal(size=9)
    corners = model.topology.faces[[3, 100, 400]]
    bary = rng.dirichlet(np.ones(3), 3)
    points, jacobian = model.points(z[:6], z[6:], corners, bary)
    assert np.allclose(points, np.einsum("lk,lkc->lc", bary, model.shape(z[:6], z[6:])[corners]), atol=1e-4)
    moved, _ = model.points(z[:6] + np.eye(6)[2], z[6:], corners, bary)
    assert np.allclose(moved - points, jacobian[..., 2], atol=1e-6)


@pytest.mark.parametrize("unit_mm", [1.0, 250.0])
def test_known_face_is_recovered_with_its_scale_known(face, unit_mm):
    model, cameras, vertices, found, placed = face(3, unit_mm=unit_mm)
    fit = fit_face(model, cameras, found, placed, fix_scale=1 / unit_mm)
    assert fit.scale == pytest.approx(1 / unit_mm)
    assert distance(fit, vertices).mean() * unit_mm < 0.4  # the prior pulls a little
    assert np.allclose(fit.rotation @ fit.rotation.T, np.eye(3), atol=1e-12)
    shape = model.shape(fit.identity, fit.expression)
    assert np.allclose(fit.scale * shape @ fit.rotation.T + fit.translation, fit.vertices)
    assert np.nanmedian(fit.residuals) < 1.0


def test_unknown_scale_is_recovered(face):
    model, cameras, vertices, found, placed = face(4, noise=0.5, unit_mm=180.0)
    fit = fit_face(model, cameras, found, placed)
    assert fit.scale * 180 == pytest.approx(1, abs=0.03)
    assert distance(fit, vertices).mean() * 180 < 0.5


def test_wrong_landmarks_do_not_drag_the_fit(face):
    model, cameras, vertices, found, placed = face(5, noise=0.5)
    ids = model.topology.landmark_ids[SCHEME]
    clean = fit_face(model, cameras, found, placed, fix_scale=1.0)
    rng = np.random.default_rng(6)
    wrong = rng.choice(ids, 24, replace=False)
    pixels, spatial = found.points.copy(), placed.points.copy()
    pixels[:, wrong] += rng.normal(0, 80, (len(cameras), 24, 2))
    spatial[wrong] += rng.normal(0, 25, (24, 3))
    found, placed = replace(found, points=pixels), replace(placed, points=spatial)
    dragged = fit_face(model, cameras, found, placed, fix_scale=1.0)
    assert distance(clean, vertices).mean() < 0.35
    assert distance(dragged, vertices).mean() < 0.7


def test_distrusted_views_and_views_without_a_face_count_for_nothing(face):
    model, cameras, _, found, placed = face(7, views=5, noise=0.3)
    pixels, weights = found.points.copy(), found.weights.copy()
    pixels[2] += 150
    pixels[4], weights[4] = np.nan, 0
    distrusted = np.array([False, False, True, False, False])
    odd = replace(found, points=pixels, weights=weights)
    a = fit_face(model, cameras, odd, replace(placed, distrusted=distrusted))
    some = [0, 1, 3]
    views = replace(placed, weights=placed.weights[some], distrusted=np.zeros(3, bool))
    b = fit_face(model, [cameras[i] for i in some], found.select(some), views)
    assert np.allclose(a.vertices, b.vertices, atol=1e-6)
    assert np.isnan(a.residuals[[2, 4]]).all()


def test_the_result_is_a_minimum_and_keeps_to_the_bounds(face):
    z = np.r_[np.random.default_rng(8).normal(size=6), -1.5, 4.0, 1.0]  # two of them beyond the bounds
    model, cameras, _, found, placed = face(z, noise=0.5, bounded=True)
    fit = fit_face(model, cameras, found, placed, fix_scale=1.0)
    assert fit.expression[0] == 0
    assert fit.expression[1] == 2.5
    assert 0 < fit.expression[2] < 2.5

    spatial = fit_landmarks3d(model, placed.points, scheme=SCHEME, fix_scale=1.0)
    ids, triangles, bary = model.topology.landmarks(SCHEME)
    corners, target = model.topology.faces[triangles], placed.points[ids]
    measured = SpatialLandmarks(target, np.ones(len(target)), np.ones(len(target)))

    def cost(coefficients):
        shape, _ = model.points(coefficients[:6], coefficients[6:], corners, bary)
        prior = 0.5 * coefficients @ coefficients
        return measured.at(shape @ spatial.rotation.T + spatial.translation).cost + prior

    best = np.r_[spatial.identity, spatial.expression]
    for index in range(9):
        for step in (-0.02, 0.02):
            moved = np.clip(best + step * np.eye(9)[index], *model.bounds)
            assert cost(moved) >= cost(best) - 1e-3


def test_noisier_landmarks_leave_more_to_the_prior(face):
    model, _, _, _, placed = face(np.full(9, 1.5))
    options = {"scheme": SCHEME, "fix_scale": 1.0}
    fits = [fit_landmarks3d(model, placed.points, noise_mm=noise, **options) for noise in (0.5, 30.0)]
    sizes = [np.linalg.norm(np.r_[fit.identity, fit.expression]) for fit in fits]
    assert sizes[0] == pytest.approx(4.5, rel=0.05)
    assert sizes[1] < 0.6 * sizes[0]


def test_a_scheme_the_model_does_not_have_is_refused_by_name(toy):
    with pytest.raises(LandmarkError, match=r"'toy' has no place for the landmarks 'wflw98'.*ibug68"):
        fit_landmarks3d(toy(), np.zeros((98, 3)), scheme="wflw98")


def test_too_few_landmarks_in_space_are_refused(face):
    model, cameras, _, found, placed = face(np.zeros(9), views=3)
    spatial = placed.points.copy()
    spatial[model.topology.landmark_ids[SCHEME][5:]] = np.nan
    with pytest.raises(LandmarkError, match="only 5 landmarks"):
        fit_face(model, cameras, found, replace(placed, points=spatial))
