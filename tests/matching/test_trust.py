from dataclasses import replace

import numpy as np
import pytest

from mesoface.matching import trust
from mesoface.matching.rig import RigCorrection, turn_camera
from mesoface.matching.trust import Rig
from mesoface.uvd.visibility import cast_visibility

CENTER = np.array([0, 0, 70.0])


@pytest.fixture(scope="module")
def views(scenes):
    return tuple(scenes.views())


@pytest.fixture(scope="module")
def space(scenes):
    return scenes.cap().space(128)


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
    camera = turn_camera(views[1].camera, np.array([0, 0.001, 0]))
    given = (views[0], replace(views[1], camera=camera), *views[2:])
    rig = checked(given, space)
    assert rig.used == (0, 1, 2, 3, 4)
    (note,) = rig.notes(CENTER)
    assert views[1].name in note
    assert "1.3 px off; corrected" in note
    mended = rig.views[1].camera.project(CENTER)[0] - views[1].camera.project(CENTER)[0]
    assert np.abs(mended).max() < 0.05


def test_a_camera_far_off_is_corrected_rather_than_thrown_out(views, space):
    """Before its correction such a view agrees with no other; a stranger's photo does not after it either."""
    camera = turn_camera(views[1].camera, np.array([0, 0.003, 0]))
    rig = checked((views[0], replace(views[1], camera=camera), *views[2:]), space)
    assert rig.used == (0, 1, 2, 3, 4)
    (note,) = rig.notes(CENTER)
    assert "px off; corrected" in note


def test_a_camera_that_looks_away_is_left_out_and_named(views, space):
    back = replace(views[2], camera=turn_camera(views[2].camera, np.array([0, np.pi, 0])), name="away")
    rig = Rig.of((*views[:2], back), space.position[space.valid])
    assert rig.used == (0, 1)
    assert rig.notes(CENTER) == ("view away looks away from the face and is left out",)


def test_of_two_cameras_nobody_says_which_is_off(views, space):
    camera = turn_camera(views[1].camera, np.array([0.002, 0, 0]))
    rig = checked((replace(views[1], camera=camera), views[3]), space)
    (note,) = rig.notes(CENTER)
    assert f"the cameras of views {views[1].name} and {views[3].name} disagree by" in note


def test_two_views_always_stay(scenes, views, space):
    given = (views[1], scenes.photograph(*scenes.arc[3], seed=11))
    assert checked(given, space).used == (0, 1)


def test_where_nothing_fits_nothing_is_left_out(views, space, monkeypatch):
    """Correlations about zero say that no view can be told from the others: a share of them is no bar."""
    nothing = RigCorrection(np.zeros((3, 3)), np.array([-0.3, -0.2, 0.1]))
    monkeypatch.setattr(trust, "estimate_rig_correction", lambda *_: nothing)
    assert checked(views[:3], space).used == (0, 1, 2)


@pytest.mark.filterwarnings("error")
def test_views_that_cannot_be_compared_stay(views, space):
    unseen = np.zeros((5, 128, 128), np.float32)
    rig = Rig.of(views, space.position[space.valid]).checked(space, unseen)
    assert rig.used == (0, 1, 2, 3, 4)
    assert rig.notes(CENTER) == ()
