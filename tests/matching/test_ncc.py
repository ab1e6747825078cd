from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.matching import ncc_torch
from mesoface.matching.displacement import find_peak
from mesoface.matching.ncc import (
    MatchImage,
    baseline_angles,
    choose_pairs,
    look_up_pixels,
    ncc_scores,
    pair_weights,
    prepare_image,
    window_size,
)
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.photos import pixel_footprint
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import cast_visibility

TRUE_D = 1.0  # mm: the base lies that far inside the surface
STEPS = np.arange(-8, 9) * 0.25
SIGMA = 2.0


@dataclass(frozen=True, eq=False)
class Setting:
    space: UVDSpace
    images: list[MatchImage]
    visibility: NDArray[np.float32]
    pairs: list[tuple[int, int]]

    def scores(self, function=ncc_scores, **kwargs):
        return function(**{**vars(self), **kwargs}, steps=STEPS, sigma=SIGMA)

    @property
    def well_seen(self):
        return (self.visibility > 0.05).sum(0) >= 2


def prepared(views, space):
    return [prepare_image(view, space, 1.5, 2.0) for view in views]


@pytest.fixture(scope="module")
def views(scenes):
    return scenes.views()


@pytest.fixture(scope="module")
def setting(scenes, views):
    space = scenes.cap(offset=-TRUE_D).space(128)
    images = prepared(views, space)
    pairs = choose_pairs([view.camera for view in views], space.position[space.valid].mean(0))
    return Setting(space, images, cast_visibility(space, views), pairs)


def test_fast_path_and_readable_twin_agree(setting):
    fast, slow = setting.scores(), setting.scores(ncc_torch.ncc_scores)
    assert fast.shape == slow.shape == (len(STEPS), 128, 128)
    assert np.abs(fast - slow).max() < 1e-4
    assert np.abs(fast - slow).mean() < 1e-5


def test_score_is_one_at_the_true_displacement_and_highest_there(setting):
    scores = setting.scores()
    true = int(np.flatnonzero(STEPS == TRUE_D)[0])
    seen = setting.well_seen
    assert np.median(scores[true][seen]) > 0.995
    assert np.percentile(scores[true][seen], 1) > 0.94
    assert np.mean(scores.argmax(0)[seen] == true) > 0.95
    peak = find_peak(scores, STEPS)
    assert np.median(np.abs(peak.displacement - TRUE_D)[seen]) < 0.03
    assert np.abs(scores).max() <= 1 + 1e-3


def test_another_skin_does_not_correlate(scenes, setting, views):
    others = [scenes.photograph(0.0, 8.0, seed=40 + k) for k in range(5)]
    strangers = [replace(view, image=other.image) for view, other in zip(views, others, strict=True)]
    scores = setting.scores(images=prepared(strangers, setting.space))
    assert np.median(np.abs(scores[:, setting.well_seen])) < 0.25


def test_gain_and_offset_of_a_camera_do_not_matter(setting, views):
    gains, offsets = (0.5, 0.8, 1.0, 1.3, 0.7), (0.2, 0.1, 0.0, -0.1, 0.05)
    changed = [
        replace(view, image=view.image * np.float32(gain) + np.float32(offset))
        for view, gain, offset in zip(views, gains, offsets, strict=True)
    ]
    before, after = setting.scores(), setting.scores(images=prepared(changed, setting.space))
    np.testing.assert_allclose(after, before, atol=2e-3)


@pytest.mark.parametrize("function", [ncc_scores, ncc_torch.ncc_scores])
def test_unseen_texels_score_zero(setting, function):
    visibility = setting.visibility.copy()
    visibility[:, :40] = 0
    visibility[1:, 60:70] = 0  # one view alone compares with nothing
    scores = setting.scores(function, visibility=visibility)
    assert not scores[:, :40].any()
    assert not scores[:, 60:70].any()
    assert not scores[:, ~setting.space.valid].any()
    assert scores[:, 45:55][:, setting.space.valid[45:55]].any()
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("function", [ncc_scores, ncc_torch.ncc_scores])
def test_blank_photos_score_zero(setting, function):
    images = [replace(image, pixels=np.full_like(image.pixels, 0.25)) for image in setting.images]
    scores = setting.scores(function, images=images)
    assert np.abs(scores).max() < 0.05


def test_a_view_without_weight_has_no_say(setting):
    first = replace(setting.images[0], pixels=np.random.default_rng(0).random((50, 60), np.float32))
    ruined = [first, *setting.images[1:]]
    visibility = setting.visibility.copy()
    visibility[0] = 0
    pairs = [pair for pair in setting.pairs if 0 not in pair]
    with_it = setting.scores(images=ruined, visibility=visibility)
    without = setting.scores(visibility=visibility, pairs=pairs)
    np.testing.assert_allclose(with_it, without, atol=1e-5)


def test_threads_do_not_change_the_result(setting):
    one, three = (setting.scores(threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_pair_weights_need_both_views():
    visibility = np.array([0.5, 1, 0], np.float32)[:, None, None] * np.ones((3, 2, 2), np.float32)
    weights = pair_weights(visibility, [(0, 1), (0, 2)])
    np.testing.assert_allclose(weights, np.array([0.5, 0])[:, None, None] * np.ones((2, 2, 2)))


@pytest.mark.parametrize(("sigma", "side"), [(1.0, 7), (1.4, 9), (2.0, 11), (2.5, 15)])
def test_window_size_is_odd_and_holds_two_and_a_half_sigma(sigma, side):
    assert window_size(sigma) == side


@pytest.fixture
def arc(scenes):
    """``arc(-30, 0, 30)`` → cameras at these yaw angles, and the point they look at."""

    return lambda *yaws: ([scenes.camera(float(yaw)) for yaw in yaws], np.array([0, 0, 70.0]))


def test_angles_are_those_between_the_lines_of_sight(arc):
    cameras, center = arc(-40, 0, 25)
    expected = [[0, 40, 65], [40, 0, 25], [65, 25, 0]]
    np.testing.assert_allclose(np.degrees(baseline_angles(cameras, center)), expected, atol=1e-5)


@pytest.mark.parametrize("yaws", [(0, 60), (0, 0.5), (0, 2, 4, 90), tuple(range(-60, 61, 4))])
def test_every_view_gets_its_partners(arc, yaws):
    pairs = choose_pairs(*arc(*yaws))
    partners = np.bincount(np.ravel(pairs), minlength=len(yaws))
    assert partners.min() >= min(2, len(yaws) - 1)
    assert all(i < j for i, j in pairs)
    assert pairs == sorted(set(pairs))


def test_two_views_make_one_pair(arc):
    assert choose_pairs(*arc(-10, 10)) == [(0, 1)]


def test_the_best_angle_is_preferred(arc):
    """Nine views at 11°: with few pairs allowed those two apart are taken, not neighbours."""
    yaws = np.arange(9) * 11.0
    pairs = choose_pairs(*arc(*yaws), limit=9)
    gaps = [j - i for i, j in pairs]
    assert gaps.count(2) == 7  # all there are
    narrow = choose_pairs(*arc(*yaws), limit=9, best_deg=11.0)
    assert [j - i for i, j in narrow].count(1) == 8


def test_the_limit_holds_but_for_what_is_owed(arc):
    cameras, center = arc(*range(-60, 61, 4))
    assert len(choose_pairs(cameras, center, limit=40)) == 40
    owed = choose_pairs(cameras, center, limit=0)
    assert len(owed) >= len(cameras)
    assert np.bincount(np.ravel(owed)).min() >= 2


def test_useless_angles_only_where_nothing_else_is_owed(arc):
    cameras, center = arc(-30, -15, 0, 1, 15, 30)
    pairs = choose_pairs(cameras, center, limit=100)
    assert (2, 3) not in pairs  # 1°
    assert (0, 5) not in pairs  # 60°
    assert (0, 4) in pairs  # 45°


def test_same_cameras_same_pairs(arc):
    cameras, center = arc(*range(-60, 61, 8))
    assert choose_pairs(cameras, center) == choose_pairs(list(cameras), center.copy())


def test_cameras_at_one_place_are_paired_without_a_fault(arc):
    assert choose_pairs(*arc(0, 0, 0), limit=3) == [(0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def view(scenes):
    return scenes.photograph(14.0, -8.0)


def with_dot(view, point):
    """The view black but for a soft dot where a world point projects."""
    x, y = np.moveaxis(view.camera.pixel_grid(), -1, 0)
    px, py = view.camera.project(point)[0]
    dot = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)).astype(np.float32)
    return replace(view, image=np.repeat(dot[..., None], 3, 2))


@pytest.mark.parametrize("size", [32, 64, 100, 128, 256, 512])
def test_camera_and_pixels_move_together(scenes, view, size):
    """A dot at a world point is found where the prepared image's camera puts the point, at every scale."""
    space = scenes.cap().space(size)
    point = space.position[size // 3, size // 2].astype(np.float64)
    image = prepare_image(with_dot(view, point), space, 1.5, 3.0)
    assert image.pixels.shape == (image.camera.height, image.camera.width)
    bright = np.clip(image.pixels - 0.3 * image.pixels.max(), 0, None)
    x, y = np.moveaxis(image.camera.pixel_grid(), -1, 0)
    found = np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()
    np.testing.assert_allclose(found, image.camera.project(point)[0], atol=0.1)
    q = image.camera.P @ np.append(point, 1)
    np.testing.assert_allclose(q[:2] / q[2], image.camera.project(point)[0])


@pytest.mark.parametrize("size", [64, 128])
def test_oversample_is_pixels_per_texel(scenes, view, size):
    space = scenes.cap().space(size)
    center = space.position[space.valid].mean(0)
    image = prepare_image(view, space, 1.5, 3.0)
    footprint = image.camera.to_camera(center)[2] / image.camera.K[0, 0]
    assert space.texel_mm / footprint == pytest.approx(1.5, rel=0.02)


def test_no_photo_is_enlarged_more_than_twice(scenes, view):
    image = prepare_image(view, scenes.cap().space(512), 8.0, 1.0)
    assert image.camera.K[0, 0] == pytest.approx(2 * view.camera.K[0, 0])


@pytest.mark.parametrize("reach", [0.5, 12.0])
def test_the_cut_holds_the_face_and_the_reach(scenes, view, reach):
    space = scenes.cap().space(64)
    image = prepare_image(view, space, 1.5, reach)
    for d in (-reach, reach):
        pixels = image.camera.project(space.displaced(np.full((64, 64), d))[space.valid])[0]
        assert (pixels > 0).all()
        assert (pixels < (image.camera.width - 1, image.camera.height - 1)).all()


def test_what_is_far_from_the_face_is_cut_off(scenes, view):
    image = np.pad(view.image, ((200, 200), (200, 200), (0, 0)))
    wide = replace(view, image=image, camera=view.camera.cropped(-200, -200, 640, 640))
    image = prepare_image(wide, scenes.cap().space(64), 1.5, 1.0)
    scale = image.camera.K[0, 0] / wide.camera.K[0, 0]
    assert image.camera.width / scale < 270
    assert image.camera.height / scale < 270


def test_a_face_partly_outside_is_cut_at_the_photo_s_edge(scenes, view):
    cropped = replace(view, image=view.image[:, :120].copy(), camera=view.camera.cropped(0, 0, 120, 240))
    image = prepare_image(cropped, scenes.cap().space(64), 1.5, 3.0)
    whole = prepare_image(view, scenes.cap().space(64), 1.5, 3.0)
    width, whole_width = (a.camera.width / a.camera.K[0, 0] for a in (image, whole))
    assert width < whole_width
    assert image.pixels.size > 0


def test_slow_shading_is_gone_and_detail_stays(scenes, view):
    space = scenes.cap().space(128)
    x = np.linspace(0, 0.5, 240, dtype=np.float32)
    shaded = replace(view, image=view.image + x[None, :, None])
    plain, other = (prepare_image(v, space, 1.5, 3.0).pixels for v in (view, shaded))
    inner = (slice(40, -40),) * 2
    assert np.abs(plain - other)[inner].max() < 0.01
    assert plain[inner].std() > 0.1


def test_luminance_weighs_the_channels(scenes, view):
    space = scenes.cap().space(64)
    pictures = view.image[..., :1] * np.eye(3, dtype=np.float32)[:, None, None]
    grey = prepare_image(view, space, 1.5, 3.0).pixels
    weights = [
        (prepare_image(replace(view, image=p), space, 1.5, 3.0).pixels * grey).sum() / (grey * grey).sum()
        for p in pictures
    ]
    np.testing.assert_allclose(weights, [0.299, 0.587, 0.114], rtol=1e-4)  # ITU-R BT.601


def test_footprint_is_the_distance_between_neighbouring_pixels(scenes):
    views = [scenes.photograph(0.0), scenes.photograph(28.0, 8.0, size=120)]
    center = np.array([0, 0, 70.0])
    for view, footprint in zip(views, pixel_footprint([view.camera for view in views], center), strict=True):
        middle, depth = view.camera.project(center)
        step = view.camera.unproject(middle + [1, 0], depth) - view.camera.unproject(middle, depth)
        assert footprint == pytest.approx(np.linalg.norm(step))


def test_texels_and_photo_are_of_the_same_surface(scenes, view):
    """What the other tests rest on: the photo shows the texture at the cap's own points."""
    cap, uv = scenes.cap(), texel_centers(64)
    points = cap.points(uv)[16:48, 16:48]
    assert np.abs(cap.distance(points)).max() < 1e-9
    x, y = np.moveaxis(view.camera.project(points)[0].astype(np.float32), -1, 0)
    seen = cv2.remap(view.image[..., 0], x, y, cv2.INTER_CUBIC)
    assert np.abs(seen - np.clip(scenes.texture(points, 3), 0, 1)).mean() < 0.02


def test_positions_are_exact():
    """Not rounded to 1/32 of a pixel, as OpenCV's ``remap`` does; the edge goes on beyond the photo."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-3, 43, (2, 50, 60))
    rows, columns = np.mgrid[:40, :40].astype(np.float32)
    depth, turned = rng.uniform(400, 600, (2, 50, 60))
    base = np.stack([x * depth, y * depth, depth]).astype(np.float32)
    away = np.stack([x * turned, y * turned, turned]).astype(np.float32) / 500
    found = look_up_pixels(2 * columns - 3 * rows, base - 7 * away, away, 7.0)
    np.testing.assert_allclose(found, 2 * x.clip(0, 39) - 3 * y.clip(0, 39), atol=2e-4)


def test_points_without_a_position_break_nothing():
    base = np.full((3, 2, 3), np.nan, np.float32)
    base[:, 1] = np.array([1.0, -np.inf, 0.0])[:, None]
    found = look_up_pixels(np.ones((4, 5), np.float32), base, np.zeros_like(base), 0.0)
    np.testing.assert_array_equal(found, 1)
