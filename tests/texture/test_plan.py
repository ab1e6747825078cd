"""What the photos agree on, and how they are blended: no seam, no ghost, no background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.texture.paint import paint
from mesoface.texture.plan import plan_texture

SIZE = 256
RED = (1.0, 0.0, 0.0)
ANGLES = (-50, -25, 0, 25, 50)


def redness(color):
    return color[..., 0] - color[..., 1]


@pytest.fixture(scope="module")
def plan(cap):
    return plan_texture(cap.skin, [cap.photograph(angle) for angle in ANGLES])


@pytest.fixture(scope="module")
def color(plan):
    return paint(plan, SIZE)


def test_the_texture_has_the_surface_s_colour(color, cap):
    error = np.abs(color - cap.truth(SIZE))[cap.inner(SIZE)]
    assert error.mean() < 0.006
    assert np.percentile(error, 99) < 0.03


def test_fine_detail_is_not_blurred(color, cap):
    """The waves of 3 mm keep their contrast."""
    inner, truth = cap.inner(SIZE), cap.truth(SIZE)
    contrast, true = (np.std((picture[..., 2])[inner]) for picture in (color, truth))
    assert contrast > 0.9 * true


def test_the_shares_of_the_photos_add_up_to_one(plan, cap):
    total = plan.detail.sum(0)
    inner = cap.inner(len(total))
    np.testing.assert_allclose(total[inner], 1, atol=0.01)
    assert total.max() <= 1 + 1e-5
    assert plan.seen[inner].min() > 0.9


def test_nothing_of_the_background_gets_in(color, cap):
    """It is green; the cap never is."""
    greenest = -redness(cap.truth(SIZE)).min()
    assert -redness(color).min() < greenest + 0.12


def test_different_exposures_leave_no_step(cap):
    gains = np.array([[0.7, 0.75, 0.8], [1.2, 1.1, 1.0], [0.9, 1, 1.1], [1.15, 1.2, 1.05], [0.8, 0.8, 0.9]])
    views = [cap.photograph(angle, gain=gain) for angle, gain in zip(ANGLES, gains, strict=True)]
    plan = plan_texture(cap.skin, views)
    relative = plan.gains * gains
    np.testing.assert_allclose(relative / relative.mean(0), 1, atol=0.01)
    color, truth, inner = paint(plan, SIZE), cap.truth(SIZE), cap.inner(SIZE)
    whole = (color[inner] * truth[inner]).sum(0) / (truth[inner] ** 2).sum(0)
    np.testing.assert_allclose(np.log(whole), np.log(gains).mean(0), atol=0.02)
    assert np.abs(color - whole * truth)[inner].mean() < 0.008


def test_a_known_occluder_leaves_no_ghost(cap, plate):
    mesh = plate(10, 130)
    views = [cap.photograph(angle, plate=(mesh, RED)) for angle in ANGLES]
    true = redness(cap.truth(SIZE))
    inner = cap.inner(SIZE)
    color = paint(plan_texture(cap.skin, views, mesh), SIZE)
    assert np.abs(redness(color) - true)[inner].max() < 0.12
    unaware = paint(plan_texture(cap.skin, views[2:3]), SIZE)
    assert np.abs(redness(unaware) - true)[inner].max() > 0.3, "there was something to keep out"


def test_what_only_one_photo_shows_is_doubted(cap, plate):
    """Something red before one camera that no geometry knows of."""
    stuck = (plate(0, 90), RED)
    views = [cap.photograph(angle, plate=stuck if angle == 0 else None) for angle in ANGLES]
    inner = cap.inner(SIZE)
    excess = redness(paint(plan_texture(cap.skin, views), SIZE)) - redness(cap.truth(SIZE))
    alone = redness(paint(plan_texture(cap.skin, views[2:3]), SIZE)) - redness(cap.truth(SIZE))
    assert alone[inner].max() > 0.6
    assert excess[inner].max() < 0.35 * alone[inner].max()


def test_what_no_photo_shows_is_filled_and_said_to_be(cap):
    plan = plan_texture(cap.skin, [cap.photograph(angle) for angle in (75, 90)])
    color, truth = paint(plan, SIZE), cap.truth(SIZE)
    width = len(plan.seen)
    middle = plan.seen[width // 4 : 3 * width // 4]
    assert middle[:, int(0.15 * width)].max() == 0
    assert middle[:, int(0.8 * width)].min() > 0.5
    assert np.isfinite(color).all()
    assert color.min() > truth.min() - 0.1
    assert color.max() < truth.max() + 0.1


def test_one_photo_is_enough(cap):
    color = paint(plan_texture(cap.skin, [cap.photograph(0)]), SIZE)
    inner = cap.inner(SIZE)
    assert np.abs(color - cap.truth(SIZE))[inner].mean() < 0.01


def test_a_blurred_photo_has_less_say_in_detail(cap):
    sharp = [cap.photograph(angle) for angle in (-8, 0, 8)]
    soft = replace(sharp[1], image=cv2.GaussianBlur(sharp[1].image, (0, 0), 2.5))
    before = plan_texture(cap.skin, sharp)
    after = plan_texture(cap.skin, [sharp[0], soft, sharp[2]])
    inner = cap.inner(before.detail.shape[1], margin=0.1)
    assert after.detail[1][inner].mean() < 0.75 * before.detail[1][inner].mean()
