from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.errors import LandmarkError
from mesoface.face_models import fit_face, fit_landmarks3d
from mesoface.face_models.measurements import ImageLandmarks, SpatialLandmarks


def posed(model, z, R, t, scale):
    """World positions of the model's MediaPipe landmarks, and all vertices."""
    identity, expression = z[: model.n_identity], z[model.n_identity :]
    topology = model.topology
    corners = topology.faces[topology.landmark_faces["mediapipe478"]]
    points, _ = model.points(identity, expression, corners, topology.landmark_bary["mediapipe478"])
    return scale * points @ R.T + t, scale * model.shape(identity, expression) @ R.T + t


R = Rotation.from_euler("xyz", [6, -9, 4], degrees=True).as_matrix()
T = np.array([4.0, -7.0, 11.0])


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
def test_known_face_is_recovered_with_its_scale_known(toy, ring, observe, unit_mm):
    model, cameras = toy(), ring(6, unit_mm=unit_mm)
    z = np.random.default_rng(3).normal(size=9)
    points, vertices = posed(model, z, R, T / unit_mm, 1 / unit_mm)
    fit = fit_face(
        model,
        cameras,
        *observe(cameras, points, model.topology.landmark_ids["mediapipe478"]),
        fix_scale=1 / unit_mm,
    )
    assert fit.scale == pytest.approx(1 / unit_mm)
    error = np.linalg.norm(fit.vertices - vertices, axis=1) * unit_mm
    assert error.mean() < 0.4  # the prior pulls a little
    assert np.allclose(fit.rotation @ fit.rotation.T, np.eye(3), atol=1e-12)
    assert np.allclose(
        fit.scale * model.shape(fit.identity, fit.expression) @ fit.rotation.T + fit.translation, fit.vertices
    )
    assert np.nanmedian(fit.residuals) < 1.0


def test_unknown_scale_is_recovered(toy, ring, observe):
    model, cameras = toy(), ring(6, unit_mm=180.0)
    points, vertices = posed(model, np.random.default_rng(4).normal(size=9), R, T / 180, 1 / 180)
    fit = fit_face(
        model, cameras, *observe(cameras, points, model.topology.landmark_ids["mediapipe478"], 0.5)
    )
    assert fit.scale * 180 == pytest.approx(1, abs=0.03)
    assert np.linalg.norm(fit.vertices - vertices, axis=1).mean() * 180 < 0.5


def test_wrong_landmarks_do_not_drag_the_fit(toy, ring, observe):
    model, cameras = toy(), ring(6)
    ids = model.topology.landmark_ids["mediapipe478"]
    points, vertices = posed(model, np.random.default_rng(5).normal(size=9), R, T, 1.0)
    found, placed = observe(cameras, points, ids, 0.5)
    clean = fit_face(model, cameras, found, placed, fix_scale=1.0)
    rng = np.random.default_rng(6)
    wrong = rng.choice(ids, 24, replace=False)
    pixels, spatial = found.points.copy(), placed.points.copy()
    pixels[:, wrong] += rng.normal(0, 80, (len(cameras), 24, 2))
    spatial[wrong] += rng.normal(0, 25, (24, 3))
    dragged = fit_face(
        model, cameras, replace(found, points=pixels), replace(placed, points=spatial), fix_scale=1.0
    )
    assert np.linalg.norm(clean.vertices - vertices, axis=1).mean() < 0.35
    assert np.linalg.norm(dragged.vertices - vertices, axis=1).mean() < 0.7


def test_distrusted_views_and_views_without_a_face_count_for_nothing(toy, ring, observe):
    model, cameras = toy(), ring(5)
    ids = model.topology.landmark_ids["mediapipe478"]
    points, _ = posed(model, np.random.default_rng(7).normal(size=9), R, T, 1.0)
    found, placed = observe(cameras, points, ids, 0.3)
    pixels, weights = found.points.copy(), found.weights.copy()
    pixels[2] += 150
    pixels[4], weights[4] = np.nan, 0
    distrusted = np.array([False, False, True, False, False])
    a = fit_face(
        model, cameras, replace(found, points=pixels, weights=weights), replace(placed, distrusted=distrusted)
    )
    some = [0, 1, 3]
    fewer = replace(found, points=found.points[some], weights=found.weights[some])
    views = replace(placed, weights=placed.weights[some], distrusted=np.zeros(3, bool))
    b = fit_face(model, [cameras[i] for i in some], fewer, views)
    assert np.allclose(a.vertices, b.vertices, atol=1e-6)
    assert np.isnan(a.residuals[[2, 4]]).all()


def test_the_result_is_a_minimum_and_keeps_to_the_bounds(toy, ring, observe):
    model, cameras = toy(bounded=True), ring(6)
    z = np.r_[np.random.default_rng(8).normal(size=6), -1.5, 4.0, 1.0]  # two of them beyond the bounds
    points, _ = posed(model, z, R, T, 1.0)
    found, placed = observe(cameras, points, model.topology.landmark_ids["mediapipe478"], 0.5)
    fit = fit_face(model, cameras, found, placed, fix_scale=1.0)
    assert fit.expression[0] == 0
    assert fit.expression[1] == 2.5
    assert 0 < fit.expression[2] < 2.5

    spatial = fit_landmarks3d(model, placed.points, scheme="mediapipe478", fix_scale=1.0)
    corners = model.topology.faces[model.topology.landmark_faces["mediapipe478"]]
    bary = model.topology.landmark_bary["mediapipe478"]
    target = placed.points[model.topology.landmark_ids["mediapipe478"]]
    measured = SpatialLandmarks(target, np.ones(len(target)), np.ones(len(target)))

    def cost(coefficients):
        shape, _ = model.points(coefficients[:6], coefficients[6:], corners, bary)
        return (
            measured.at(shape @ spatial.rotation.T + spatial.translation).cost
            + 0.5 * coefficients @ coefficients
        )

    best = np.r_[spatial.identity, spatial.expression]
    for index in range(9):
        for step in (-0.02, 0.02):
            moved = np.clip(best + step * np.eye(9)[index], *model.bounds)
            assert cost(moved) >= cost(best) - 1e-3


def test_noisier_landmarks_leave_more_to_the_prior(toy):
    model = toy()
    points, _ = posed(model, np.full(9, 1.5), R, T, 1.0)
    placed = np.full((478, 3), np.nan)
    placed[model.topology.landmark_ids["mediapipe478"]] = points
    fits = [
        fit_landmarks3d(model, placed, scheme="mediapipe478", fix_scale=1.0, noise_mm=noise)
        for noise in (0.5, 30.0)
    ]
    sizes = [np.linalg.norm(np.r_[fit.identity, fit.expression]) for fit in fits]
    assert sizes[0] == pytest.approx(4.5, rel=0.05)
    assert sizes[1] < 0.6 * sizes[0]


def test_a_scheme_the_model_does_not_have_is_refused_by_name(toy):
    with pytest.raises(LandmarkError, match=r"'toy' has no place for the landmarks 'wflw98'.*ibug68"):
        fit_landmarks3d(toy(), np.zeros((98, 3)), scheme="wflw98")


def test_too_few_landmarks_in_space_are_refused(toy, ring, observe):
    model, cameras = toy(), ring(3)
    ids = model.topology.landmark_ids["mediapipe478"]
    points, _ = posed(model, np.zeros(9), R, T, 1.0)
    found, placed = observe(cameras, points, ids)
    spatial = placed.points.copy()
    spatial[ids[5:]] = np.nan
    with pytest.raises(LandmarkError, match="only 5 landmarks"):
        fit_face(model, cameras, found, replace(placed, points=spatial))
