"""One person's identity from several of their faces."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.face_models import load_face_model
from mesoface.face_models.fitting import embedding, fit_landmarks3d
from mesoface.landmarks.types import Landmarks3D
from mesoface.sequence.person import KnownIdentity, joint_identity

SCHEME = "mediapipe478"


@pytest.fixture(scope="module")
def model():
    return load_face_model("generic")


@pytest.fixture(scope="module")
def frames(model):
    """Landmarks of one person with four expressions, half a millimetre of noise; and who it is."""
    rng = np.random.default_rng(3)
    identity = rng.normal(size=model.n_identity) * 0.8
    ids, corners, bary = embedding(model, SCHEME, 478)
    landmarks = []
    for _ in range(4):
        expression = rng.normal(size=model.n_expression) * (rng.uniform(size=model.n_expression) < 0.3)
        points = np.full((478, 3), np.nan)
        points[ids] = model.points(identity, expression, corners, bary)[0] + rng.normal(0, 0.5, (len(ids), 3))
        points += rng.normal(0, 10, 3)
        empty = np.zeros((1, 478))
        landmarks.append(Landmarks3D(points, empty, empty, np.zeros(1, bool), SCHEME))
    return identity, landmarks


def neutral(model, identity):
    """(L, 3) the landmarks of the neutral face about their middle."""
    _, corners, bary = embedding(model, SCHEME, 478)
    points = model.points(identity, np.zeros(model.n_expression), corners, bary)[0]
    return points - points.mean(0)


def error(model, identity, truth):
    return np.linalg.norm(neutral(model, identity) - neutral(model, truth), axis=1).mean()


def test_several_frames_know_the_person_better_than_one(model, frames):
    identity, landmarks = frames
    fits = [fit_landmarks3d(model, each.points, scheme=SCHEME, fix_scale=1.0) for each in landmarks]
    alone = np.mean([error(model, fit.identity, identity) for fit in fits])
    together = error(model, joint_identity(model, fits, landmarks), identity)
    assert together < 0.8 * alone


def test_one_frame_is_enough(model, frames):
    identity, landmarks = frames
    fit = fit_landmarks3d(model, landmarks[0].points, scheme=SCHEME, fix_scale=1.0)
    found = joint_identity(model, [fit], landmarks[:1])
    assert error(model, found, identity) < 1.3 * error(model, fit.identity, identity)


def test_a_known_identity_is_kept(model, frames):
    identity, landmarks = frames
    known = KnownIdentity(model, identity)
    fit = known.full(fit_landmarks3d(known, landmarks[1].points, scheme=SCHEME, fix_scale=1.0))
    np.testing.assert_array_equal(fit.identity, identity)
    assert fit.model is model
    assert len(fit.expression) == model.n_expression
    whole = model.shape(fit.identity, fit.expression) @ fit.rotation.T + fit.translation
    np.testing.assert_allclose(fit.vertices, whole, atol=1e-6)
    ids = embedding(model, SCHEME, 478)[0]
    assert np.median(fit.residuals) < 1.0
    assert fit.residuals.shape == (1, len(ids))


def test_a_known_identity_is_the_model_with_it_put_in(model, frames):
    identity, _ = frames
    known = KnownIdentity(model, identity)
    expression = np.linspace(-1, 1, model.n_expression)
    _, corners, bary = embedding(model, SCHEME, 478)
    ours, by_ours = known.points(np.zeros(0), expression, corners[:5], bary[:5])
    theirs, by_theirs = model.points(identity, expression, corners[:5], bary[:5])
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(by_ours, by_theirs[:, :, model.n_identity :])
    np.testing.assert_array_equal(known.shape(np.zeros(0), expression), model.shape(identity, expression))
