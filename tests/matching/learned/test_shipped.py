"""The weights that come with mesoface, on skin that they were not trained on."""

from functools import lru_cache
from importlib.resources import files

import numpy as np
import pytest
import safetensors.torch
import torch

from mesoface.lab.training.config import MatchingLoss
from mesoface.lab.training.our_recipe import OurRecipe
from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.tile_recipe import TileAnswer, classical_answer
from mesoface.matching.cascade import match
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.learned.matcher import SHIPPED, LearnedMatcher, load_matcher
from mesoface.uvd.space import build_uvd_space


@lru_cache(maxsize=1)
def tiles():
    """Twelve patches at the scale that the network measures at."""
    drawn = (patch_tile(np.random.default_rng([77, k])) for k in range(60))
    return [tile for tile in drawn if tile.texel_mm < 0.6][:12]


@pytest.fixture(scope="module")
def shipped():
    network = SurfaceMatcher()
    weights = (files("mesoface") / "assets" / SHIPPED).read_bytes()
    network.load_state_dict(safetensors.torch.load(weights))
    return network.eval()


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return SurfaceMatcher().eval()


def error(answers):
    """Mean error over tiles and their known texels, steps."""
    return np.mean([np.nanmean(answer.error) / answer.tile.step_mm for answer in answers])


def learned(network):
    recipe = OurRecipe(network, "regularizer", MatchingLoss(), augment=False)
    return [TileAnswer(tile, *recipe.predict(tile)) for tile in tiles()]


def classical():
    found = [(tile, classical_answer(tile)) for tile in tiles()]
    return [TileAnswer(tile, answer.displacement, answer.weight) for tile, answer in found]


def test_they_beat_the_classical_matcher_on_single_passes(shipped):
    assert error(learned(shipped)) < error(classical())


def test_without_them_it_fails(shipped, untrained):
    trained = error(learned(shipped))
    assert trained < 0.95
    assert error(learned(untrained)) > 1.5 * trained


def test_what_they_are_sure_of_is_right(shipped):
    shares = []
    for answer in learned(shipped):
        known = np.isfinite(answer.error)
        sure = known & (answer.confidence > np.median(answer.confidence[known]))
        shares.append(answer.error[sure].mean() / answer.error[known].mean())
    assert np.mean(shares) < 0.95
    assert max(shares) < 1.2


def test_the_cascade_is_as_good_as_they_are(scenes, shipped, untrained):
    mesh, views = scenes.cap(bumps=0.0, offset=2.0).mesh(), scenes.views(size=480)
    facial = np.ones(len(mesh.faces), bool)
    off = []
    for network in (shipped, untrained):
        matcher = LearnedMatcher(network, threads=1)
        found = match(lambda size: build_uvd_space(mesh, facial, size), views, matcher, preset="fast")
        off.append(np.abs(scenes.cap().distance(found.space.position))[found.space.valid])
    assert np.median(off[0]) < 0.03
    assert np.percentile(off[0], 90) < 0.1
    assert np.median(off[1]) > 1.5 * np.median(off[0])


def test_they_are_what_a_matcher_gets_that_is_given_none(shipped):
    ours = load_matcher(threads=1)._network.state_dict()
    for name, value in shipped.state_dict().items():
        torch.testing.assert_close(ours[name], value, atol=0, rtol=0)
