"""The stated uncertainty: its features are what they claim to be, and it follows the errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.matching.refinement import refine, refine_with_evidence
from mesoface.matching.uncertainty import (
    Evidence,
    describe_openings,
    describe_texels,
    estimate_opening_uncertainty,
    read_coefficients,
)
from mesoface.uvd.maps import erode
from mesoface.uvd.space import Match, UVDSpace
from mesoface.uvd.visibility import cast_visibility

SIZE = 128


@pytest.fixture(scope="module")
def near(scenes) -> Match:
    """The cap's true surface, as a perfect cascade would leave it."""
    space = scenes.cap().space(SIZE)
    views = tuple(scenes.views())
    seen = cast_visibility(space, views)
    confidence = space.valid.astype(np.float32)
    return Match(space, space.valid, confidence, views, seen, tuple(range(len(views))))


def noisy(match: Match, sigma: float, seed: int = 0) -> Match:
    """The same match from photos with white noise."""
    rng = np.random.default_rng(seed)
    views = tuple(
        replace(view, image=np.clip(view.image + rng.normal(0, sigma, view.image.shape), 0, 1).astype("f4"))
        for view in match.views
    )
    return replace(match, views=views)


def inner(match: Match) -> np.ndarray:
    """(H, H) the cap without its rim."""
    return erode(match.space.valid, 8)


def flat(information: float, stiffness: float, size: int = 33) -> Evidence:
    """A plane of texels of 1 mm, all alike."""
    row, column = np.mgrid[:size, :size].astype(np.float32)
    normal = np.zeros((size, size, 3), np.float32)
    normal[..., 2] = 1
    space = UVDSpace(np.dstack([column, -row, 0 * row]), normal, np.ones((size, size), bool))
    ones = np.ones((size, size), np.float32)
    return Evidence(
        space, 1.0, 1.0, information * ones, stiffness, ones[None], 0 * ones, 0 * ones, ones, 5 * ones
    )


def test_the_variance_of_the_plate_is_that_of_its_equations():
    information, stiffness, size = 2.0, 50.0, 33
    bending = np.zeros((size**2, size**2))
    for k in range(size**2):
        x = np.pad(np.eye(size**2)[k].reshape(size, size), 1, mode="edge")
        middle = x[1:-1, 1:-1]
        bending[:, k] = (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * middle).ravel()
    covariance = np.linalg.inv(information * np.eye(size**2) + stiffness * bending.T @ bending)
    expected = np.sqrt(np.diag(covariance).reshape(size, size)[size // 2, size // 2])
    found = np.exp(describe_texels(flat(information, stiffness))["plate"])
    assert found[size // 2, size // 2] == pytest.approx(expected, rel=0.05)


def test_every_feature_has_a_coefficient_and_every_coefficient_a_feature():
    coefficients = read_coefficients()
    ones = np.ones((4, 4), np.float32)
    assert {"constant", *describe_texels(flat(1.0, 1.0))} == set(coefficients["surface"])
    assert {"constant", *describe_openings(ones, 0.5, 0.1)} == set(coefficients["openings"])


def test_the_bootstrap_finds_the_noise_of_the_surface(near):
    where = inner(near)
    (first, evidence), (second, _) = (refine_with_evidence(noisy(near, 0.04, seed)) for seed in (1, 2))
    between = np.linalg.norm(first.space.position - second.space.position, axis=-1)[where]
    true = np.sqrt(np.mean(between**2) / 2)
    drawn = np.zeros(near.measured.shape)
    rows, columns = np.nonzero(near.space.valid)
    part = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    drawn[part] = (evidence.noise**2).mean(0)
    assert np.sqrt(drawn[where].mean()) == pytest.approx(true, rel=0.6)


def test_noise_in_the_photos_makes_it_larger(near):
    clean, grainy = (refine(match).uncertainty for match in (near, noisy(near, 0.04)))
    where = inner(near)
    assert np.median(grainy[where]) > 1.3 * np.median(clean[where])


def test_errors_of_a_scene_that_was_never_fitted_are_within_three_of_it(scenes, near):
    grainy = refine(noisy(near, 0.03))
    where = inner(near)
    error = np.abs(scenes.cap().distance(grainy.space.position[where]))
    ratio = error / grainy.uncertainty[where]
    assert 0.2 < np.median(ratio) < 1.5
    assert (ratio < 3).mean() > 0.9


def test_it_is_larger_where_one_view_alone_sees(near):
    seen = near.visibility.copy()
    seen[1:, :, : SIZE // 2] = 0
    found = refine(replace(near, visibility=seen)).uncertainty
    left, right = np.array(inner(near)), np.array(inner(near))
    left[:, SIZE // 2 - 6 :] = right[:, : SIZE // 2 + 6] = False
    assert np.median(found[left]) > 1.25 * np.median(found[right])


def test_none_is_stated_where_nothing_was_measured(near):
    measured = near.measured.copy()
    measured[50:60, 50:60] = False
    found = refine(replace(near, measured=measured)).uncertainty
    assert (found[measured] > 0).all()
    assert (found[~measured] == 0).all()


def test_it_has_the_unit_of_the_scene(near):
    """In a scene of twice the size with cameras twice as far, errors are twice as large."""
    scale = 2.0
    views = tuple(
        replace(view, camera=replace(view.camera, t=scale * np.asarray(view.camera.t))) for view in near.views
    )
    space = replace(near.space, position=scale * near.space.position)
    large = refine(replace(near, space=space, views=views)).uncertainty
    where = inner(near)
    assert np.median(large[where] / refine(near).uncertainty[where]) == pytest.approx(scale, rel=0.35)


def test_in_openings_it_falls_with_confidence():
    confidence = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    found = estimate_opening_uncertainty(confidence, 0.5, 0.1)
    assert (np.diff(found.ravel()) <= 0).all()
    assert found.min() > 0
