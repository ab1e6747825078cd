"""Movement between photos: found in the view that moved, weighed down, named; never on a rigid scene."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.matching import movement as matching_movement
from mesoface.matching.movement import Movement, find_movement, weigh_down_movement
from mesoface.matching.refinement import refine
from mesoface.matching.rig import turn_camera
from mesoface.matching.shifts import quantile_of_views
from mesoface.uvd.maps import erode
from mesoface.uvd.space import Match, ViewCheck
from mesoface.uvd.visibility import SEEN, cast_visibility

SIZE = 128
PLACE = (70, 45)  # texel around which the skin moves
PIXEL_MM = 0.42  # what a pixel of the scene spans
REGIONS = {"here": np.array([-17.0, -5.0, 78.0]), "far away": np.array([40.0, 40.0, 60.0])}


@pytest.fixture(scope="module")
def rigid(scenes) -> Match:
    """The cap's true surface and five photos of it, with the noise of a good camera."""
    space, views = scenes.cap().space(SIZE), tuple(scenes.views())
    seen = cast_visibility(space, views)
    match = Match(space, space.valid, space.valid.astype(np.float32), views, seen, tuple(range(5)))
    return noisy(match, 0.01)


def around_place(match: Match, k: int, sigma_mm: float):
    """(H, W) Gaussian in view ``k`` around where ``PLACE`` is seen."""
    image, camera = match.views[k].image, match.views[k].camera
    (x, y), _ = camera.project(match.space.position[PLACE].astype(np.float64))
    row, column = np.indices(image.shape[:2], np.float32)
    near = np.exp(-((column - x) ** 2 + (row - y) ** 2) * PIXEL_MM**2 / (2 * sigma_mm**2))
    return near.astype(np.float32), row, column


def with_image(match: Match, k: int, image) -> Match:
    views = list(match.views)
    views[k] = replace(views[k], image=np.asarray(image, np.float32))
    return replace(match, views=tuple(views))


def moved(match: Match, k: int, shift_px: tuple[float, float], sigma_mm: float = 12.0) -> Match:
    """The skin around ``PLACE`` moved in view ``k``, and smoothly less around that."""
    near, row, column = around_place(match, k, sigma_mm)
    x, y = column - near * shift_px[0], row - near * shift_px[1]
    return with_image(match, k, cv2.remap(match.views[k].image, x, y, cv2.INTER_CUBIC))


def noisy(match: Match, sigma: float) -> Match:
    rng = np.random.default_rng(0)
    for k, view in enumerate(match.views):
        match = with_image(match, k, np.clip(view.image + rng.normal(0, sigma, view.image.shape), 0, 1))
    return match


@pytest.mark.parametrize("change", ["none", "noise", "exposure", "camera", "surface"])
def test_a_rigid_face_has_not_moved(scenes, rigid, change):
    """Also not where the surface or a camera is a little wrong: both shift photos, but not like skin."""
    if change == "noise":
        rigid = noisy(rigid, 0.03)
    if change == "exposure":
        rigid = with_image(rigid, 1, 0.7 * rigid.views[1].image + 0.05)
    if change == "camera":
        off = turn_camera(rigid.views[3].camera, np.array([0.0005, -0.0004, 0.004]))
        rigid = replace(rigid, views=(*rigid.views[:3], replace(rigid.views[3], camera=off), rigid.views[4]))
    if change == "surface":
        row, column = np.mgrid[:SIZE, :SIZE] * rigid.space.texel_mm
        bumps = 0.3 * np.sin(2 * np.pi * row / 25) * np.sin(2 * np.pi * column / 25)
        rigid = replace(rigid, space=replace(rigid.space, position=rigid.space.displaced(bumps)))
    assert find_movement(rigid).share.max() == 0
    assert weigh_down_movement(rigid, REGIONS) is rigid


@pytest.mark.parametrize(
    ("k", "shift"), [(0, (0.0, 1.5)), (2, (-1.1, 1.0)), (2, (1.5, 0.0)), (4, (0.0, -1.5))]
)
def test_movement_is_found_in_its_view_with_its_length(rigid, k, shift):
    found = find_movement(moved(rigid, k, shift))
    assert np.flatnonzero(found.share).tolist() == [k]
    assert 0.02 < found.share[k] < 0.4
    # A window of 5 mm averages over the bell of 12 mm that moved.
    averaged = 12**2 / (12**2 + 5**2)
    assert found.largest_mm[k] == pytest.approx(averaged * 1.5 * PIXEL_MM, abs=0.12)
    assert np.linalg.norm(found.place[k] - rigid.space.position[PLACE]) < 10
    assert np.isnan(np.delete(found.place, k, 0)).all()
    assert found.kept[k][PLACE] < 0.1
    far = np.hypot(*(np.indices((SIZE, SIZE)) - np.reshape(PLACE, (2, 1, 1)))) * rigid.space.texel_mm > 45
    assert (found.kept[k][far] == 1).all()
    assert (np.delete(found.kept, k, 0) == 1).all()


def test_movement_is_found_though_the_camera_is_off_too(rigid):
    off = turn_camera(rigid.views[2].camera, np.array([0.0004, 0.0004, 0.002]))
    both = moved(rigid, 2, (0.0, 1.5))
    both = replace(both, views=(*both.views[:2], replace(both.views[2], camera=off), *both.views[3:]))
    assert np.flatnonzero(find_movement(both).share).tolist() == [2]


def test_the_view_counts_less_and_is_named_with_the_place(rigid):
    before = moved(rigid, 2, (0.0, 1.5))
    checks = tuple(ViewCheck(view.name, 0.1, 0.0, 0.0) for view in before.views)
    weighed = weigh_down_movement(replace(before, notes=("a note",), checks=checks), REGIONS)
    assert [check.moved > 0.1 for check in weighed.checks] == [k == 2 for k in range(5)]
    assert weighed.checks[2].moved_mm == pytest.approx(0.54, abs=0.12)
    first, note = weighed.notes
    assert first == "a note"
    assert note.startswith(f"view {before.views[2].name}: the face moved in ")
    assert "mm, at the here); the view counts less there" in note
    assert weighed.visibility[2][PLACE] < 0.1 * before.visibility[2][PLACE]
    assert (np.delete(weighed.visibility, 2, 0) == np.delete(before.visibility, 2, 0)).all()
    assert weighed.space is before.space


def test_without_regions_the_place_is_left_out(rigid):
    (note,) = weigh_down_movement(moved(rigid, 2, (0.0, 1.5))).notes
    assert note.endswith(" mm); the view counts less there")


def test_the_refined_surface_is_as_if_nothing_had_moved(scenes, rigid):
    before = moved(rigid, 1, (1.6, 0.6))
    near = np.hypot(*(np.indices((SIZE, SIZE)) - np.reshape(PLACE, (2, 1, 1)))) * rigid.space.texel_mm < 18
    near &= erode(rigid.space.valid, 6)

    def error(match: Match) -> float:
        return float(np.abs(scenes.cap().distance(refine(match).space.position[near])).mean())

    still, plain, weighed = error(rigid), error(before), error(weigh_down_movement(before))
    assert plain > still + 0.01
    assert weighed < still + 0.4 * (plain - still)


def test_a_view_of_something_else_is_named(scenes, rigid):
    near, _, _ = around_place(rigid, 2, 14.0)
    paste = np.clip(4 * (near - 0.4), 0, 1)[..., None]
    other = scenes.photograph(*scenes.arc[2], seed=11).image
    found = weigh_down_movement(
        with_image(rigid, 2, (1 - paste) * rigid.views[2].image + paste * other), REGIONS
    )
    (note,) = found.notes
    assert note.startswith(f"view {rigid.views[2].name} shows something else than the others in ")
    assert "(at the here)" in note
    assert found.visibility[2][PLACE] < 0.1


def test_only_parts_that_reach_into_the_mask_count(rigid):
    before = moved(rigid, 2, (0.0, 1.5))
    elsewhere = np.zeros((SIZE, SIZE), bool)
    elsewhere[:20] = True
    assert weigh_down_movement(before, within=elsewhere) is before
    assert find_movement(before, within=~elsewhere).share[2] > 0


def test_with_two_views_it_is_not_decidable_which_one_moved(rigid):
    before = moved(rigid, 1, (0.0, 1.5))
    before = replace(before, views=before.views[1:3], visibility=before.visibility[1:3], used=(1, 2))
    assert find_movement(before).share.tolist() == [0, 0]


def test_two_views_stay_for_every_texel(rigid, monkeypatch):
    nothing = Movement(np.zeros_like(rigid.visibility), np.ones(5), np.ones(5), np.zeros((5, 3)))
    monkeypatch.setattr(matching_movement, "find_movement", lambda *_: nothing)
    weighed = weigh_down_movement(rigid)
    before = (rigid.visibility > SEEN).sum(0)
    assert (((weighed.visibility > SEEN).sum(0) >= 2) == (before >= 2)).all()


def test_quantiles_over_views_leave_out_what_is_not_known():
    rng = np.random.default_rng(5)
    values, known = rng.normal(size=(6, 7, 8)), rng.uniform(size=(6, 7, 8)) < 0.6
    known[:, 0, 0] = False
    for share in (0.0, 0.35, 0.5, 1.0):
        found = quantile_of_views(values, known, share)
        assert found[0, 0] == 0
        for row, column in np.argwhere(known.any(0)):
            column_of = values[known[:, row, column], row, column]
            assert found[row, column] == pytest.approx(np.quantile(column_of, share))
