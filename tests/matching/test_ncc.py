from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.matching import ncc_torch
from mesoface.matching.displacement import find_peak
from mesoface.matching.images import MatchImage, prepare_image
from mesoface.matching.ncc import ncc_scores, pair_weights, window_size
from mesoface.matching.pairs import choose_pairs
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
        given = {
            "space": self.space,
            "images": self.images,
            "visibility": self.visibility,
            "pairs": self.pairs,
        }
        return function(*{**given, **kwargs}.values(), STEPS, SIGMA)

    @property
    def well_seen(self):
        return (self.visibility > 0.05).sum(0) >= 2


@pytest.fixture(scope="module")
def views(scenes):
    return scenes.views()


@pytest.fixture(scope="module")
def setting(scenes, views):
    space = scenes.cap(offset=-TRUE_D).space(128)
    images = [prepare_image(view, space, 1.5, 2.0) for view in views]
    pairs = choose_pairs([view.camera for view in views], space.position[space.valid].mean(0))
    return Setting(space, images, cast_visibility(space, views), pairs)


def test_fast_path_and_readable_twin_agree(setting):
    """OpenCV rounds sampling positions to 1/32 px: up to 1/64 px × the slope of the picture in every sample.

    On this skin (waves from 3 mm, a pixel spans 0.45 mm) that is below 0.01 of a correlation, and unbiased.
    """
    fast, slow = setting.scores(), setting.scores(ncc_torch.ncc_scores)
    assert fast.shape == slow.shape == (len(STEPS), 128, 128)
    assert np.abs(fast - slow).max() < 0.01
    assert np.abs(fast - slow).mean() < 5e-4


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
    images = [
        prepare_image(replace(view, image=other.image), setting.space, 1.5, 2.0)
        for view, other in zip(views, others, strict=True)
    ]
    scores = setting.scores(images=images)
    assert np.median(np.abs(scores[:, setting.well_seen])) < 0.25


def test_gain_and_offset_of_a_camera_do_not_matter(setting, views):
    gains, offsets = (0.5, 0.8, 1.0, 1.3, 0.7), (0.2, 0.1, 0.0, -0.1, 0.05)
    images = [
        prepare_image(
            replace(view, image=view.image * np.float32(g) + np.float32(o)), setting.space, 1.5, 2.0
        )
        for view, g, o in zip(views, gains, offsets, strict=True)
    ]
    before, after = setting.scores(), setting.scores(images=images)
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
    ruined = [
        replace(setting.images[0], pixels=np.random.default_rng(0).random((50, 60), np.float32)),
        *setting.images[1:],
    ]
    visibility = setting.visibility.copy()
    visibility[0] = 0
    pairs = [pair for pair in setting.pairs if 0 not in pair]
    with_it = setting.scores(images=ruined, visibility=visibility)
    without = setting.scores(visibility=visibility, pairs=pairs)
    np.testing.assert_allclose(with_it, without, atol=1e-5)


def test_threads_do_not_change_the_result(setting):
    arguments = (setting.space, setting.images, setting.visibility, setting.pairs, STEPS, SIGMA)
    one, three = (ncc_scores(*arguments, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_pair_weights_need_both_views():
    visibility = np.array([0.5, 1, 0], np.float32)[:, None, None] * np.ones((3, 2, 2), np.float32)
    weights = pair_weights(visibility, [(0, 1), (0, 2)])
    np.testing.assert_allclose(weights, np.array([0.5, 0])[:, None, None] * np.ones((2, 2, 2)))


@pytest.mark.parametrize(("sigma", "side"), [(1.0, 7), (1.4, 9), (2.0, 11), (2.5, 15)])
def test_window_size_is_odd_and_holds_two_and_a_half_sigma(sigma, side):
    assert window_size(sigma) == side
