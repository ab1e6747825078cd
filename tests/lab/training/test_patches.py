"""What a drawn patch promises: photos that agree on the truth, in the cascade's terms, and no two alike."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest

from mesoface.captures.capture import View
from mesoface.lab.training.patches import SkinPatch, draw_patch, patch_tile
from mesoface.matching.displacement import find_peak
from mesoface.matching.ncc import choose_pairs, ncc_scores, prepare_image
from mesoface.uvd.visibility import cast_visibility

SIZE = 48
SEEDS = range(8)


@lru_cache(maxsize=32)
def patch(seed: int, ideal: bool) -> SkinPatch:
    return draw_patch(np.random.default_rng(seed), size=SIZE, ideal=ideal)


def disagreement(patch: SkinPatch, displacement: np.ndarray) -> float:
    """Median variance, over the views that see a texel well, of what they show at ``displacement``."""
    points = patch.space.displaced(np.nan_to_num(displacement))

    def shown(view: View) -> np.ndarray:
        x, y = np.moveaxis(view.camera.project(points)[0].astype(np.float32), -1, 0)
        return cv2.remap(view.image, x, y, cv2.INTER_CUBIC).mean(-1)

    colour = np.stack([shown(view) for view in patch.views])
    weight = patch.visibility > 0.6
    mean = (colour * weight).sum(0) / np.maximum(weight.sum(0), 1)
    variance = (weight * (colour - mean) ** 2).sum(0) / np.maximum(weight.sum(0) - 1, 1)
    # The median: what hides itself by less than the ray casting's tolerance disagrees rightly.
    return float(np.median(variance[weight.sum(0) >= 2]))


@pytest.mark.parametrize("seed", SEEDS)
def test_ideal_photos_agree_at_the_truth_and_not_beside_it(seed):
    drawn = patch(seed, True)
    at_truth = disagreement(drawn, drawn.truth)
    assert np.sqrt(at_truth) < 0.02
    for aside in (-1, 1):
        assert disagreement(drawn, drawn.truth + aside * drawn.step_mm) > at_truth


def test_the_truth_is_where_they_agree_best_to_a_fiftieth_of_a_texel():
    offsets = []
    for seed in SEEDS:
        drawn = patch(seed, True)
        aside = np.linspace(-0.75, 0.75, 5)
        costs = [disagreement(drawn, drawn.truth + k * drawn.step_mm) for k in aside]
        a, b, _ = np.polyfit(aside, costs, 2)
        offsets.append(-b / (2 * a) * drawn.step_mm / drawn.space.texel_mm)
    assert abs(np.median(offsets)) < 0.02


def test_the_classical_matcher_finds_the_truth_on_ideal_photos():
    errors = []
    for seed in SEEDS:
        drawn = patch(seed, True)
        cameras = [view.camera for view in drawn.views]
        pairs = choose_pairs(cameras, drawn.space.position.reshape(-1, 3).mean(0))
        images = [prepare_image(view, drawn.space, 1.5, drawn.reach_mm) for view in drawn.views]
        count = round(drawn.reach_mm / drawn.step_mm)
        steps = np.arange(-count, count + 1) * drawn.step_mm
        scores = ncc_scores(drawn.space, images, drawn.visibility, pairs, steps, 2.0, threads=1)
        seen = (drawn.visibility > 0.4).sum(0) >= 2
        error = np.abs(find_peak(scores, steps).displacement - drawn.truth)[seen] / drawn.step_mm
        errors.append(np.nanmedian(error))
    assert np.median(errors) < 0.3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_patch_is_what_a_level_of_the_cascade_starts_from(seed):
    drawn = patch(seed, False)
    assert drawn.space.size == SIZE
    assert drawn.space.valid.all()
    assert 0.12 < drawn.space.texel_mm < 4.5
    np.testing.assert_allclose(np.linalg.norm(drawn.space.normal, axis=-1), 1, atol=1e-4)
    assert 0.2 < drawn.step_mm / drawn.space.texel_mm < 0.61
    assert 4 <= round(drawn.reach_mm / drawn.step_mm) <= 12
    assert drawn.truth.dtype == np.float32
    assert (np.abs(drawn.truth) < drawn.reach_mm).mean() > 0.85
    assert 2 <= len(drawn.views) <= 12
    assert all(view.image.min() >= 0 and view.image.max() <= 1 for view in drawn.views)
    assert ((drawn.visibility > 0).sum(0) >= 2).mean() > 0.5
    # Like ray casting against the patch alone, but for what its surroundings and occluders hide.
    alone = cast_visibility(drawn.space, drawn.views)
    assert np.mean(drawn.visibility <= alone + 0.1) > 0.95
    assert np.mean(np.abs(drawn.visibility - alone) < 0.1) > 0.5


def test_the_same_chance_gives_the_same_patch():
    again = draw_patch(np.random.default_rng(3), size=SIZE)
    np.testing.assert_array_equal(again.truth, patch(3, False).truth)
    for view, other in zip(again.views, patch(3, False).views, strict=True):
        np.testing.assert_array_equal(view.image, other.image)
        np.testing.assert_array_equal(view.camera.P, other.camera.P)
    assert not np.array_equal(patch(4, False).truth, patch(3, False).truth)


def test_sizes_and_flaws_cover_their_ranges():
    """Fine and coarse texels, few and many views, sharp and noisy photos are all among a few patches."""
    drawn = [patch(seed, False) for seed in SEEDS]
    texels = [one.space.texel_mm for one in drawn]
    assert min(texels) < 0.45 < 0.8 < max(texels)
    assert min(len(one.views) for one in drawn) <= 4 < 7 <= max(len(one.views) for one in drawn)

    def grain(one: SkinPatch) -> float:
        return float(np.median([np.abs(cv2.Laplacian(view.image, cv2.CV_32F)).mean() for view in one.views]))

    assert max(map(grain, drawn)) > 3 * min(map(grain, drawn))


def test_a_tile_holds_the_patch():
    tile, drawn = patch_tile(np.random.default_rng(5), SIZE), patch(5, False)
    np.testing.assert_array_equal(tile.truth, drawn.truth)
    assert tile.step_mm == drawn.step_mm
    assert tile.reach_mm == drawn.reach_mm
    assert 2 <= len(tile.images) <= len(drawn.views)
    np.testing.assert_allclose(tile.position.reshape(-1, 3).mean(0), 0, atol=1e-3)
    # The photos are brought to 1.5 pixels a texel, and the patch lies well inside of them.
    for image, P in zip(tile.images, tile.projections, strict=True):
        xyw = np.c_[tile.position.reshape(-1, 3), np.ones(SIZE * SIZE)] @ P.T
        pixels = xyw[:, :2] / xyw[:, 2:]
        assert (pixels > 1).all()
        assert (pixels < np.array(image.shape[1::-1]) - 2).all()


def test_a_patch_of_a_few_texels_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        draw_patch(np.random.default_rng(0), size=8)
