"""What the photos agree on, and how they are blended: no seam, no ghost, no background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.texture.bake import paint
from mesoface.texture.plan import (
    find_agreement,
    look_up,
    pixel_map,
    plan_texture,
    solve_gains,
    solve_offsets,
)
from mesoface.texture.weights import find_skin
from mesoface.uvd.photos import face_photo
from mesoface.uvd.space import FineSurface

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


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_offsets_are_found_through_chains_of_overlaps(rng):
    """Neighbours share texels, far ones do not."""
    surface, true = rng.normal(size=600), np.array([0.3, -0.1, 0.2, -0.4])
    seen = np.zeros((4, 600))
    for v in range(4):
        seen[v, 120 * v : 120 * v + 200] = rng.uniform(0.1, 1, 200)
    values = surface + true[:, None] + 0.005 * rng.normal(size=(4, 600))
    np.testing.assert_allclose(solve_offsets(values, seen, 0.1), true - true.mean(), atol=0.005)


def test_outliers_do_not_pull(rng):
    true = np.array([0.2, 0.0, -0.2])
    values = rng.normal(size=400) + true[:, None]
    values[0, :100] += 1.5  # a quarter of one photo is a highlight
    np.testing.assert_allclose(solve_offsets(values, np.ones((3, 400)), 0.1), true, atol=0.01)


def test_who_shares_nothing_keeps_its_own(rng):
    weights = np.ones((3, 50))
    weights[2] = 0
    offsets = solve_offsets(rng.normal(size=50) + np.array([[0.4], [0.0], [7.0]]), weights, 0.1)
    np.testing.assert_allclose(offsets[0] - offsets[1], 0.4, atol=1e-3)
    assert abs(offsets[2]) < 0.3
    np.testing.assert_array_equal(solve_offsets(np.ones((2, 5)), np.zeros((2, 5)), 0.1), 0)


def test_gains_are_by_channel_and_do_not_change_the_mean(rng):
    surface = rng.uniform(0.2, 0.5, (300, 3))
    exposure = np.array([[0.7, 0.8, 0.9], [1.3, 1.2, 1.1]])
    gains = solve_gains(surface * exposure[:, None], np.ones((2, 300)))
    np.testing.assert_allclose(gains * exposure, np.sqrt(exposure.prod(0)) * np.ones((2, 1)), rtol=1e-3)
    np.testing.assert_allclose(gains.prod(0), 1, rtol=1e-6)


def test_clipped_pixels_say_nothing_about_exposure(rng):
    surface = rng.uniform(0.3, 0.9, (500, 3))
    photos = np.minimum(surface * np.array([1.5, 0.8])[:, None, None], 1)
    gains = solve_gains(photos, np.ones((2, 500)))
    np.testing.assert_allclose(gains[0] / gains[1], 0.8 / 1.5, rtol=0.01)


def test_the_photo_that_differs_loses_its_say():
    colors = np.full((8, 2, 2, 3), 0.5)
    colors[1, 0, 0] = 1.0
    found = find_agreement(colors, np.ones((8, 2, 2)))
    assert found.factor[1, 0, 0] < 0.1
    assert np.delete(found.factor[:, 0, 0], 1).min() > 0.9
    assert found.factor[:, 1, 1].min() > 0.99
    assert found.clear[1, 1] == 1


def test_where_all_differ_nobody_is_doubted():
    colors = np.linspace(0, 1, 6)[:, None, None, None] * np.ones((6, 2, 2, 3))
    found = find_agreement(colors, np.ones((6, 2, 2)))
    np.testing.assert_allclose(found.factor, 1, atol=0.1)
    assert found.clear.max() < 0.2


def test_of_two_photos_neither_is_doubted():
    colors = np.stack([np.zeros((3, 3, 3)), np.ones((3, 3, 3))])
    np.testing.assert_array_equal(find_agreement(colors, np.ones((2, 3, 3))).factor, 1)


@pytest.fixture
def fine(cap):
    """The cap measured 0.5 mm outside of a base, with an eye-like hole and without its right quarter."""
    space = cap.skin.space
    kept = space.valid.copy()
    kept[50:60, 40:55] = False
    kept[:, 96:] = False
    displacement, seen = np.where(kept, np.float32(0.5), 0), np.zeros((2, *kept.shape), np.float32)
    nothing, confidence = np.zeros_like(kept), kept.astype(np.float32)
    return FineSurface(cap.mesh, space, displacement, kept, nothing, confidence, seen, left_out=0.1)


def test_openings_are_closed_by_the_base_mesh(fine, cap):
    skin = find_skin(fine, cap.mesh)
    radius = np.linalg.norm(skin.space.position, axis=-1)
    np.testing.assert_allclose(radius[fine.kept], 80.5, atol=0.01)
    assert skin.space.valid[50:60, 40:55].all()
    np.testing.assert_allclose(radius[50:60, 40:55], 80, atol=0.02)


def test_beyond_the_measured_rim_is_no_skin(fine, cap):
    skin = find_skin(fine, cap.mesh)
    assert not skin.space.valid[:, 96:].any()
    assert np.isfinite(skin.space.position).all()
    np.testing.assert_allclose(np.linalg.norm(skin.space.normal, axis=-1), 1, atol=1e-4)


def test_an_opening_without_base_mesh_stays_open(fine, cap):
    center = cap.mesh.uv[cap.mesh.faces].mean(1)
    open_mesh = cap.mesh.select_faces(np.max(np.abs(center - (0.37, 0.57)), -1) > 0.02)
    skin = find_skin(fine, open_mesh)
    assert not skin.space.valid[50:60, 40:55].all()
    assert skin.space.valid[50:60, 40:55].any()


def test_a_base_without_uvs_is_refused(fine, cap):
    with pytest.raises(ValueError, match="no UVs"):
        find_skin(fine, replace(cap.mesh, uv=None))


def test_minifying_does_not_alias(cap):
    """Every texel of a coarse texture is a mean, not a sample: fine waves vanish in it."""
    view = cap.photograph(0)
    points = cap.skin.space.position[cap.skin.space.valid]
    photo, camera = face_photo(view, points, texel_mm=6.0)
    assert camera.width < view.camera.width / 2
    position = cap.skin.resized(24).space.position
    seen = look_up(photo, pixel_map(position, camera))[..., 2]
    inner = cap.inner(24, margin=0.1)
    assert np.std(seen[inner]) < 0.3 * np.std(cap.truth(256)[..., 2][cap.inner(256)])
