"""Refinement over all views: it finds the surface from near, and bends a plate where photos say little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.matching.refinement import _compare_band, _make_bands, bend_plate, refine
from mesoface.uvd.maps import erode
from mesoface.uvd.space import Match, UVDSpace
from mesoface.uvd.visibility import cast_visibility

SIZE = 128


@pytest.fixture(scope="module")
def near(scenes) -> Match:
    """The cap's true surface with bumps of 0.3 mm, 11 mm wide, as a cascade could have left them."""
    space = scenes.cap().space(SIZE)
    row, column = np.mgrid[:SIZE, :SIZE] * space.texel_mm
    bumps = 0.3 * np.sin(2 * np.pi * row / 11) * np.sin(2 * np.pi * column / 11)
    space = replace(space, position=space.displaced(bumps))
    views = tuple(scenes.views())
    seen = cast_visibility(space, views)
    confidence = space.valid.astype(np.float32)
    return Match(space, space.valid, confidence, views, seen, tuple(range(len(views))))


def error(scenes, space: UVDSpace) -> float:
    """Mean distance from the cap, mm, without the rim."""
    inside = erode(space.valid, 6)
    return float(np.abs(scenes.cap().distance(space.position[inside])).mean())


def noisy(match: Match, sigma: float) -> Match:
    """The same match from photos with white noise."""
    rng = np.random.default_rng(0)
    views = tuple(
        replace(view, image=np.clip(view.image + rng.normal(0, sigma, view.image.shape), 0, 1).astype("f4"))
        for view in match.views
    )
    return replace(match, views=views)


def test_bumps_of_the_cascade_go(scenes, near):
    refined = refine(near)
    assert error(scenes, refined.space) < 0.35 * error(scenes, near.space)


def test_exposure_of_a_view_does_not_matter(scenes, near):
    first, *others = near.views
    darker = replace(first, image=0.6 * first.image + 0.1)
    once, other = refine(near), refine(replace(near, views=(darker, *others)))
    assert abs(error(scenes, once.space) - error(scenes, other.space)) < 0.02


def test_noise_in_the_photos_makes_no_bumps(scenes, near):
    refined = refine(noisy(near, 0.03))
    assert error(scenes, refined.space) < 0.6 * error(scenes, near.space)


def test_photos_without_texture_leave_a_smooth_surface(near):
    blank = replace(near, views=tuple(replace(v, image=np.full_like(v.image, 0.5)) for v in near.views))
    refined = refine(blank)
    assert np.isfinite(refined.space.position).all()
    moved = np.linalg.norm(refined.space.position - near.space.position, axis=-1)
    assert moved[near.measured].max() < 0.7


def test_where_one_view_alone_is_left_the_surface_stays_near(near):
    seen = near.visibility.copy()
    seen[1:, :, : SIZE // 2] = 0
    refined = refine(replace(near, visibility=seen))
    moved = np.linalg.norm(refined.space.position - near.space.position, axis=-1)
    assert moved[near.measured].max() < 0.7


def test_what_is_measured_and_by_whom_stays(near):
    refined = refine(near)
    assert refined.views is near.views
    assert (refined.measured == near.measured).all()
    assert (refined.confidence == near.confidence).all()


def test_what_was_not_measured_goes_along_without_a_step(near):
    measured = near.measured.copy()
    measured[50:60, 50:60] = False
    refined = refine(replace(near, measured=measured))
    moved = np.einsum("hwc,hwc->hw", refined.space.position - near.space.position, near.space.normal)
    assert np.abs(np.diff(moved, axis=0))[48:61, 52:58].max() < 0.15


def test_progress_ends_at_its_total(near):
    calls = []
    refine(near, progress=lambda *call: calls.append(call))
    assert calls[-1][1] == calls[-1][2] == len(calls) - 1


def test_a_plate_is_that_of_the_normal_equations():
    rng = np.random.default_rng(1)
    shape, stiffness = (9, 8), 2.5
    information = rng.uniform(0.01, 3, shape).astype(np.float32)
    pull = rng.normal(size=shape).astype(np.float32)
    size = information.size
    bending = np.zeros((size, size))
    for k in range(size):
        x = np.pad(np.eye(size)[k].reshape(shape), 1, mode="edge")
        inner = x[1:-1, 1:-1]
        bending[:, k] = (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * inner).ravel()
    matrix = np.diag(information.ravel()) + stiffness * bending.T @ bending
    expected = np.linalg.solve(matrix, pull.ravel()).reshape(shape)
    found = bend_plate(information, pull, stiffness, np.zeros(shape, np.float32))
    assert np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()


def test_one_view_alone_never_has_negative_information():
    rng = np.random.default_rng(2)
    skins, weights = rng.normal(size=(1, 64, 64)).astype("f4"), rng.uniform(0, 1, (1, 64, 64)).astype("f4")
    shift = tuple(rng.normal(size=(2, 64, 64)).astype("f4"))
    signs = np.ones((1, 1), np.float32)
    information, *_ = _compare_band(skins, weights, [shift], _make_bands(1.0, 1.0)[0], 8.0, signs)
    assert (information >= 0).all()
