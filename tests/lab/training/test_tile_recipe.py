"""The figures that a training is judged by, and the picture."""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.tile_recipe import TileAnswer, _camera, classical_answer, figures, picture
from mesoface.lab.training.validation import all_answers


def test_figures_are_in_mm_over_known_texels(toy):
    tile = toy.make_toy_tile(0)
    tile.truth[:4] = np.nan
    tile.truth[4, 4] = 1.6  # outside of what is searched
    tile.visibility[1:, 5] = 0  # one view alone
    displacement = np.where(np.isfinite(tile.truth), tile.truth, 99).astype(np.float32) + 0.1
    displacement[4, 4] = displacement[5] = 50
    displacement[8:] += 0.3
    got = figures([TileAnswer(tile, displacement, np.zeros_like(displacement))])
    known = 3 * 16 - 1, 8 * 16  # texels 0.1 mm off, and 0.4 mm
    assert got["mean_mm"] == pytest.approx((known[0] * 0.1 + known[1] * 0.4) / sum(known), rel=1e-5)
    assert got["median_mm"] == pytest.approx(0.4, rel=1e-5)
    assert got["mean_steps"] == pytest.approx(got["mean_mm"] / 0.25, rel=1e-5)
    kept = np.isfinite(tile.truth) & (np.abs(tile.truth) <= 1.5)
    kept[5] = False
    assert got["unmeasured_mm"] == pytest.approx(np.abs(tile.truth[kept]).mean(), rel=1e-5)


def test_the_surest_are_ranked_by_confidence(toy):
    tile = toy.make_toy_tile(0)
    off = np.zeros_like(tile.truth)
    off[:3] = 1  # 48 of 256: fewer than the fifth that is left out
    right = figures([TileAnswer(tile, tile.truth + off, -off)])
    wrong = figures([TileAnswer(tile, tile.truth + off, off)])
    assert right["surest_mm"] == pytest.approx(0, abs=1e-6)
    assert wrong["surest_mm"] == pytest.approx(48 / 205, rel=1e-3)
    assert right["mean_mm"] == wrong["mean_mm"]


def test_fine_and_coarse_tiles_are_told_apart(toy):
    found = []
    for texel_mm, off in ((0.5, 0.1), (1.0, 0.2), (3.0, 0.3)):
        tile = toy.make_toy_tile(1, texel_mm=texel_mm)
        found.append(TileAnswer(tile, tile.truth + np.float32(off), tile.truth))
    got = figures(found)
    assert (got["fine_mm"], got["coarse_mm"], got["mean_mm"]) == pytest.approx((0.1, 0.3, 0.2), rel=1e-4)


def test_nothing_known_is_nan(toy):
    tile = toy.make_toy_tile(0, known=False)
    assert all(
        np.isnan(value) for value in figures([TileAnswer(tile, tile.position[..., 0], tile.truth)]).values()
    )


def test_picture_shows_error_and_the_unknown(toy):
    tiles = [toy.make_toy_tile(seed) for seed in range(9)]
    tiles[0].truth[:8] = np.nan
    drawn = picture([TileAnswer(tile, np.zeros_like(tile.truth), tile.truth) for tile in tiles])
    assert drawn.shape == (20 + 6 * 192, 5 * 192, 3)
    error = drawn[20:212, 3 * 192 : 4 * 192]
    assert error[20, 96].tolist() == pytest.approx([158, 158, 163], abs=1), "not known: grey"
    assert error[150:180].std() > 20


def test_answers_stop_when_asked(toy):
    recipe, tiles = toy.ToyRecipe(), [toy.make_toy_tile(seed) for seed in range(3)]
    asked = iter([False, False, True])
    assert all_answers(recipe, tiles, lambda: next(asked)) is None
    assert len(all_answers(recipe, tiles, lambda: False) or ()) == 3


def test_cameras_come_back_from_their_projections():
    tile = patch_tile(np.random.default_rng(1), 24)
    for image, projection in zip(tile.images, tile.projections, strict=True):
        camera = _camera(projection, image.shape[1], image.shape[0])
        scale = camera.P[2, 3] / projection[2, 3]
        assert np.allclose(camera.P, scale * projection, rtol=1e-9, atol=1e-6 * abs(scale))


def test_it_measures_something_on_most_patches():
    """Better than staying on the base, on patches that are hard on purpose."""
    tiles = [patch_tile(np.random.default_rng([2, n]), 48) for n in range(6)]
    found = [TileAnswer(tile, (a := classical_answer(tile)).displacement, a.weight) for tile in tiles]
    better = [
        answer.error[answer.known].mean() < np.abs(answer.tile.truth[answer.known]).mean() for answer in found
    ]
    assert sum(better) >= 4
