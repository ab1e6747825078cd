from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.matching import rig as matching_rig
from mesoface.matching.rig import Rig, RigCorrection, estimate_rig_correction, turn_camera
from mesoface.uvd.visibility import cast_visibility

CENTER = np.array([0, 0, 70.0])


@pytest.fixture(scope="module")
def views(scenes):
    return tuple(scenes.views())


@pytest.fixture(scope="module")
def space(scenes):
    return scenes.cap().space(128)


@pytest.fixture(scope="module")
def visibility(space, views):
    return cast_visibility(space, views)


def turned(views, rotations):
    return [
        replace(view, camera=turn_camera(view.camera, rotation))
        for view, rotation in zip(views, rotations, strict=True)
    ]


def with_one_turned(views, rotation):
    """The views, the second one's camera turned."""
    return (views[0], *turned(views[1:2], [np.array(rotation)]), *views[2:])


def offsets(views, truth):
    """(V, 2) by how many pixels the middle of the face lies off in every view."""
    here, there = ([view.camera.project(CENTER)[0] for view in some] for some in (views, truth))
    return np.array(here) - there


def without_common_shift(offset, truth):
    """(V,) what remains of the offsets, pixels, after the best shift of the face in space."""
    ends = np.stack([CENTER + np.eye(3), CENTER - np.eye(3)])
    effect = np.stack([-np.diff(view.camera.project(ends)[0], axis=0)[0].T / 2 for view in truth])
    shift = np.linalg.lstsq(effect.reshape(-1, 3), offset.ravel(), rcond=None)[0]
    return np.linalg.norm(offset - effect @ shift, axis=1)


def corrected_by(views, correction):
    """(V,) pixels by which the correction moves the face in the photos."""
    return np.linalg.norm(offsets(turned(views, correction.rotations), views), axis=1)


def test_a_correct_rig_stays(space, views, visibility):
    correction = estimate_rig_correction(space, views, visibility)
    assert corrected_by(views, correction).max() < 0.1
    assert correction.agreement.min() > 0.97


@pytest.mark.parametrize("seed", [0, 1])
def test_small_turns_of_all_cameras_are_found_up_to_a_common_shift(space, views, visibility, seed):
    rotations = np.random.default_rng(seed).normal(0, 0.0006, (5, 3)) * [1, 1, 0]
    wrong = turned(views, rotations)
    before = without_common_shift(offsets(wrong, views), views)
    correction = estimate_rig_correction(space, wrong, visibility)
    after = without_common_shift(offsets(turned(wrong, correction.rotations), views), views)
    assert before.max() > 0.5
    assert after.max() < 0.05


def test_one_camera_that_is_off_keeps_its_error_to_itself(space, views, visibility):
    rotations = np.zeros((5, 3))
    rotations[3] = 0.0012, -0.0008, 0
    wrong = turned(views, rotations)
    correction = estimate_rig_correction(space, wrong, visibility)
    off = np.linalg.norm(offsets(wrong, views)[3])
    assert off > 1.5
    shifts = corrected_by(wrong, correction)
    assert shifts[3] == pytest.approx(off, abs=0.05)
    assert np.delete(shifts, 3).max() < 0.05
    np.testing.assert_allclose(correction.rotations[3, :2], -rotations[3, :2], atol=5e-5)
    assert correction.agreement.min() > 0.97  # as corrected: such a view is not to be thrown out


def test_a_shift_of_the_whole_face_is_left_to_the_surface(space, views, visibility):
    shift = np.array([0.5, -0.3, 0.4])
    rays = [view.camera.to_camera(CENTER) for view in views]
    rotations = [np.cross(ray, v.camera.R @ shift) / (ray @ ray) for ray, v in zip(rays, views, strict=True)]
    wrong = turned(views, rotations)
    assert np.linalg.norm(offsets(wrong, views), axis=1).min() > 0.8
    assert corrected_by(wrong, estimate_rig_correction(space, wrong, visibility)).max() < 0.1


def test_distrusted_texels_do_not_count(scenes, space, views, visibility):
    """Half of the surface is 4 mm off; with that half masked the rig is as good as with all of it."""
    bad = space.valid & (np.arange(128)[None] < 64)
    broken = replace(space, position=space.displaced(np.where(bad, 4.0, 0.0)))
    masked = estimate_rig_correction(broken, views, visibility * ~bad)
    assert corrected_by(views, masked).max() < 0.1
    assert masked.agreement.min() > 0.97
    assert estimate_rig_correction(broken, views, visibility).agreement.min() < 0.9


def test_a_view_that_shares_nothing_is_left_alone(space, views, visibility):
    alone = visibility.copy()
    alone[2] = 0
    correction = estimate_rig_correction(space, views, alone)
    assert np.isnan(correction.agreement[2])
    assert corrected_by(views, correction)[2] < 0.1
    assert not np.isnan(np.delete(correction.agreement, 2)).any()


def test_turn_camera_keeps_the_place(views):
    camera = views[0].camera
    other = turn_camera(camera, np.array([0.01, -0.02, 0.03]))
    np.testing.assert_allclose(other.center, camera.center, atol=1e-9)
    angle = np.arccos((np.trace(other.R @ camera.R.T) - 1) / 2)
    assert angle == pytest.approx(np.linalg.norm([0.01, -0.02, 0.03]), rel=1e-6)
    # Turning about the camera's own y axis by +θ moves what it sees by +f·θ in x.
    panned = turn_camera(camera, np.array([0, 1e-3, 0]))
    moved = panned.project(CENTER)[0] - camera.project(CENTER)[0]
    assert moved[0] == pytest.approx(camera.K[0, 0] * 1e-3, rel=1e-2)


def checked(views, space):
    rig = Rig.of(views, space.position[space.valid])
    return rig.checked(space, cast_visibility(space, views))


def test_a_good_rig_is_kept_without_a_word(views, space):
    rig = checked(views, space)
    assert rig.used == (0, 1, 2, 3, 4)
    assert rig.notes(CENTER) == ()
    assert all(a.image is b.image for a, b in zip(rig.views, views, strict=True))


@pytest.mark.parametrize("which", [0, 2])
def test_a_view_with_another_picture_is_left_out_and_named(scenes, views, space, which):
    other = scenes.photograph(*scenes.arc[which], seed=11, name="stranger")
    given = tuple(other if k == which else view for k, view in enumerate(views))
    rig = checked(given, space)
    assert rig.used == tuple(k for k in range(5) if k != which)
    assert [view.name for view in rig.views] == [given[k].name for k in rig.used]
    (note,) = rig.notes(CENTER)
    assert "stranger" in note
    assert "left out" in note


def test_indices_stay_those_of_the_given_views_over_several_checks(scenes, views, space):
    given = (scenes.photograph(*scenes.arc[0], seed=11, name="stranger"), *views[1:])
    once = checked(given, space)
    twice = once.checked(space, cast_visibility(space, once.views))
    assert once.used == twice.used == (1, 2, 3, 4)
    assert twice.given == given


def test_a_camera_that_looks_off_is_corrected_and_told(views, space):
    rig = checked(with_one_turned(views, [0, 0.001, 0]), space)
    assert rig.used == (0, 1, 2, 3, 4)
    (note,) = rig.notes(CENTER)
    assert views[1].name in note
    assert "1.3 px off; corrected" in note
    mended = rig.views[1].camera.project(CENTER)[0] - views[1].camera.project(CENTER)[0]
    assert np.abs(mended).max() < 0.05


def test_checks_state_estimates_and_what_was_made_of_them(views, space):
    """Of one camera 1.3 pixels off nearly all is corrected; of exact cameras nothing."""
    assert Rig.of(views, space.position[space.valid]).checks(CENTER) == ()
    good = checked(views, space).checks(CENTER)
    assert [check.name for check in good] == [view.name for view in views]
    assert max(check.estimated_px for check in good) < 0.1
    assert max(check.corrected_px for check in good) < 1e-6
    off = checked(with_one_turned(views, [0, 0.001, 0]), space).checks(CENTER)[1]
    assert off.estimated_px == pytest.approx(1.34, abs=0.06)
    assert 0.95 * off.estimated_px < off.corrected_px < off.estimated_px
    assert off.corrected_deg == pytest.approx(np.degrees(0.001), rel=0.08)


def test_checks_are_those_of_the_views_that_stay(scenes, views, space):
    rig = checked((scenes.photograph(*scenes.arc[0], seed=11, name="stranger"), *views[1:]), space)
    assert [check.name for check in rig.checks(CENTER)] == [view.name for view in views[1:]]


def test_a_camera_far_off_is_corrected_rather_than_thrown_out(views, space):
    """Before its correction such a view agrees with no other; a stranger's photo does not after it either."""
    rig = checked(with_one_turned(views, [0, 0.003, 0]), space)
    assert rig.used == (0, 1, 2, 3, 4)
    (note,) = rig.notes(CENTER)
    assert "px off; corrected" in note


def test_a_camera_that_looks_away_is_left_out_and_named(views, space):
    back = replace(views[2], camera=turn_camera(views[2].camera, np.array([0, np.pi, 0])), name="away")
    rig = Rig.of((*views[:2], back), space.position[space.valid])
    assert rig.used == (0, 1)
    assert rig.notes(CENTER) == ("view away looks away from the face and is left out",)


def test_of_two_cameras_nobody_says_which_is_off(views, space):
    rig = checked(with_one_turned(views, [0.002, 0, 0])[1:4:2], space)
    (note,) = rig.notes(CENTER)
    assert f"the cameras of views {views[1].name} and {views[3].name} disagree by" in note


def test_two_views_always_stay(scenes, views, space):
    given = (views[1], scenes.photograph(*scenes.arc[3], seed=11))
    assert checked(given, space).used == (0, 1)


def test_where_nothing_fits_nothing_is_left_out(views, space, monkeypatch):
    """Correlations about zero say that no view can be told from the others: a share of them is no bar."""
    nothing = RigCorrection(np.zeros((3, 3)), np.array([-0.3, -0.2, 0.1]))
    monkeypatch.setattr(matching_rig, "estimate_rig_correction", lambda *_: nothing)
    assert checked(views[:3], space).used == (0, 1, 2)


@pytest.mark.filterwarnings("error")
def test_views_that_cannot_be_compared_stay(views, space):
    unseen = np.zeros((5, 128, 128), np.float32)
    rig = Rig.of(views, space.position[space.valid]).checked(space, unseen)
    assert rig.used == (0, 1, 2, 3, 4)
    assert rig.notes(CENTER) == ()
