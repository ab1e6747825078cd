"""Skin is followed in space, and what is no skin that was seen before is told."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.sequence.tracking import SIZE, track, unroll

SEEN = np.ones((5, SIZE, SIZE), np.float32)


@pytest.fixture(scope="module")
def anchor(plate):
    return unroll(plate.views(), plate.space(), SEEN)


def error_mm(position, truth, rim):
    """Distances from the true place ``rim`` texels and more inside of the border."""
    return np.linalg.norm(position - truth.position, axis=-1)[rim:-rim, rim:-rim]


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (2.5, -1.5, 0.0), (0.0, 0.0, 3.0), (-1.0, 2.0, -2.0)])
def test_motion_is_found_in_all_directions(plate, anchor, shift):
    found = track(plate.views(shift), anchor, plate.space(), SEEN)
    error = error_mm(found.position, plate.space(shift), 48)
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.3
    assert found.agreement > 0.85


def test_errors_do_not_add_up(plate, anchor):
    """The anchor's pictures stay, so the tenth frame is as near as the first."""
    space = plate.space()
    for step in range(1, 11):
        shift = (0.8 * step, 0.0, 0.4 * step)
        found = track(plate.views(shift), anchor, space, SEEN)
        space = type(space)(found.position, space.normal, space.valid)
    assert np.median(error_mm(space.position, plate.space((8.0, 0.0, 4.0)), 64)) < 0.15


def test_other_skin_does_not_agree(plate, other_plate, anchor):
    assert track(other_plate.views(), anchor, plate.space(), SEEN).agreement < 0.5


def test_a_view_that_shows_something_else_does_not_pull(plate, other_plate, anchor):
    shift = (1.5, 0.0, 1.0)
    views = (*plate.views(shift)[:4], other_plate.views(shift)[4])
    found = track(views, anchor, plate.space(), SEEN)
    assert np.median(error_mm(found.position, plate.space(shift), 64)) < 0.2


def test_what_two_views_do_not_see_moves_with_its_surroundings(plate, anchor):
    seen = SEEN.copy()
    seen[1:, 100:140, 100:140] = 0
    shift = (2.0, 0.0, 0.0)
    found = track(plate.views(shift), anchor, plate.space(), seen)
    motion = (found.position - plate.space().position)[110:130, 110:130]
    np.testing.assert_allclose(motion.mean((0, 1)), shift, atol=0.3)
