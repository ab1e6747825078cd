"""Our matcher trained: its losses, what each stage moves, what is frozen, what its answer is.

Also the figures that the training of any matcher is judged by, and the picture.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mesoface.errors import MesofaceError
from mesoface.lab.training.checkpoint import save_tensors
from mesoface.lab.training.config import MatchingConfig, RegularizerConfig, check_config
from mesoface.lab.training.our_recipe import (
    confidence_loss,
    displacement_loss,
    distribution_loss,
    make_target,
    our_recipe,
    relative_loss,
    slope_loss,
)
from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.tile_recipe import TileAnswer, _camera, classical_answer, figures, picture
from mesoface.lab.training.validation import all_answers

STEPS = torch.arange(-4, 5) * 0.25
SIZE = 12


@pytest.fixture
def truth() -> torch.Tensor:
    u = torch.linspace(-1, 1, SIZE)
    return (0.6 * u[None] + 0.2 * u[:, None] ** 2).contiguous()


@pytest.fixture
def target(truth):
    return make_target(truth, torch.ones(3, SIZE, SIZE), STEPS, 0.5)


def test_known_needs_a_truth_and_two_views(truth):
    visibility = torch.ones(3, SIZE, SIZE)
    visibility[:2, 0] = 0
    visibility[1:, 1] = 0.04  # below what counts as seen
    truth[2, 2], truth[3, 3], truth[4, 4] = torch.nan, 1.01, -1.0
    target = make_target(truth, visibility, STEPS, 0.5)
    assert not target.known[:2].any()
    assert target.known[2:].sum() == (SIZE - 2) * SIZE - 1
    assert target.known[3, 3]
    assert not target.inside[3, 3], "outside of what is searched"
    assert target.inside[4, 4]
    assert torch.isfinite(target.truth).all()


def test_distribution_is_best_where_it_is_the_gaussian(target):
    off = (STEPS[:, None, None] - target.truth) / 0.25
    perfect = -0.5 * (off / 0.7) ** 2
    best = distribution_loss(perfect, target, 0.7)
    for other in (perfect * 2, perfect * 0.5, perfect.roll(1, 0), torch.zeros_like(perfect)):
        assert distribution_loss(other, target, 0.7) > best + 1e-3
    assert distribution_loss(torch.zeros_like(perfect), target, 0.7) == pytest.approx(math.log(9), rel=1e-5)
    entropy = -(torch.softmax(perfect, 0) * torch.log_softmax(perfect, 0)).sum(0).mean()
    assert best == pytest.approx(float(entropy), rel=1e-5)


def test_displacement_counts_in_steps(target):
    assert displacement_loss(target.truth, target) == 0
    half = displacement_loss(target.truth + 0.125, target)
    double = displacement_loss(target.truth + 0.5, target)
    assert half == pytest.approx(math.log(3), abs=1e-5), "half a step: log(1 + 0.5 / 0.25)"
    assert double == pytest.approx(math.log(9), abs=1e-5)


def test_slope_counts_in_mm_per_mm_and_not_offsets(target):
    assert slope_loss(target.truth + 3, target) == pytest.approx(0, abs=1e-5)
    tilted = target.truth + 0.5 * torch.arange(SIZE) * 0.1  # 0.1 mm per mm along u
    assert slope_loss(tilted, target) == pytest.approx(0.05, abs=1e-5), "mean over u and v"


def test_confidence_learns_what_is_within_a_step(target, truth):
    answer = truth.clone()
    answer[:6] += 0.3  # more than a step off
    right = torch.full_like(truth, 6.0)
    right[:6] = -6.0
    assert confidence_loss(right, answer, target) < 0.01
    assert confidence_loss(-right, answer, target) > 5
    outside = make_target(truth + 10, torch.ones(3, SIZE, SIZE), STEPS, 0.5)
    assert confidence_loss(-torch.ones_like(truth) * 6, truth + 10, outside) < 0.01, "cannot know"


@pytest.mark.parametrize("what", ["everything", "nothing"])
def test_unknown_texels_have_no_part_and_gradients_stay_finite(truth, what):
    """NaN in the truth touches neither loss nor gradient; a tile without truth costs nothing."""
    reference = truth.clone()
    if what == "nothing":
        truth[:] = torch.nan
    else:
        truth[:4] = torch.nan
    target = make_target(truth, torch.ones(2, SIZE, SIZE), STEPS, 0.5)
    logits = torch.randn(9, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    displacement = (reference + 0.1).requires_grad_()
    confidence = torch.zeros(SIZE, SIZE).requires_grad_()
    loss = (
        distribution_loss(logits, target, 0.6)
        + displacement_loss(displacement, target)
        + slope_loss(displacement, target)
        + confidence_loss(confidence, displacement, target)
    )
    loss.backward()
    assert torch.isfinite(loss)
    for tensor in (logits, displacement, confidence):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad[..., :4, :] == 0).all()
        assert bool(tensor.grad.any()) is (what == "everything")


def test_gradients_are_those_of_the_losses():
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(4, 4, dtype=torch.float64, generator=generator).clamp(-1, 1) * 0.9
    target = make_target(truth, torch.ones(2, 4, 4), STEPS.double(), 0.5)
    displacement = torch.randn(4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: displacement_loss(d, target), displacement)
    assert torch.autograd.gradcheck(lambda d: slope_loss(d, target), displacement)


def test_a_relative_loss_is_below_one_where_the_network_is_better():
    assert float(relative_loss(torch.tensor(0.2), torch.tensor(0.4), 0.0)) == pytest.approx(0.5)
    assert float(relative_loss(torch.tensor(0.2), torch.tensor(0.0), 0.1)) == pytest.approx(2.0)


def test_nothing_is_gained_by_a_worse_classical_answer():
    own, classical = torch.tensor(0.2, requires_grad=True), torch.tensor(0.4, requires_grad=True)
    relative_loss(own, classical, 0.1).backward()
    assert own.grad is not None
    assert classical.grad is None


@pytest.fixture(scope="module")
def tile():
    return patch_tile(np.random.default_rng(0), 32)


def gradients(recipe, tile) -> set[str]:
    """Parts of the matcher that the loss pulls at."""
    loss, _ = recipe.loss(tile, np.random.default_rng(0))
    loss.backward()
    return {
        name.split(".")[0]
        for name, parameter in recipe.network.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }


@pytest.mark.parametrize(
    ("model", "also"), [(MatchingConfig, set()), (RegularizerConfig, {"regularizer", "refinement"})]
)
def test_a_stage_trains_its_parts(values, tile, model, also):
    recipe = our_recipe(check_config(values(), model))
    assert gradients(recipe, tile) == {"features", "implicit_function"} | also
    trained = {name.split(".")[0] for name, p in recipe.network.named_parameters() if p.requires_grad}
    assert trained == {"features", "implicit_function"} | also


def test_the_second_stage_starts_from_the_first_and_may_freeze_it(values, tile, tmp_path):
    path = tmp_path / "weights.safetensors"
    first = our_recipe(check_config(values(), MatchingConfig)).network
    save_tensors(path, first.state_dict())
    config = check_config(values(matching=str(path), freeze_matching=True), RegularizerConfig)
    recipe = our_recipe(config)
    assert gradients(recipe, tile) == {"regularizer", "refinement"}
    for name, value in first.state_dict().items():
        assert torch.equal(recipe.network.state_dict()[name], value), name


def test_weights_of_another_network_are_refused(values, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, torch.nn.Linear(2, 2).state_dict())
    with pytest.raises(MesofaceError, match=r"weights\.safetensors: does not fit the network to train"):
        our_recipe(check_config(values(init=str(path)), MatchingConfig))
    with pytest.raises(MesofaceError, match=r"none\.safetensors: no such file"):
        our_recipe(check_config(values(matching=str(tmp_path / "none.safetensors")), RegularizerConfig))


def test_half_precision_on_a_cpu_is_refused(values):
    config = check_config(values(machine={"device": "cpu", "precision": "bf16-mixed"}), MatchingConfig)
    with pytest.raises(MesofaceError, match=r"machine\.precision.* — set it to \"32-true\""):
        our_recipe(config)


@pytest.mark.parametrize("model", [MatchingConfig, RegularizerConfig])
def test_answers_are_maps_within_the_search_range(values, tile, model):
    displacement, confidence = our_recipe(check_config(values(), model)).predict(tile)
    assert displacement.shape == confidence.shape == tile.truth.shape
    assert displacement.dtype == confidence.dtype == np.float32
    assert np.abs(displacement).max() <= tile.reach_mm + 1e-5
    assert np.isfinite(confidence).all()


def test_the_loss_is_the_weighted_sum_of_its_parts(values, tile):
    weights = {"cost": 0.5, "distribution": 2.0, "displacement": 0.25, "slope": 3.0, "confidence": 0.1}
    recipe = our_recipe(check_config(values(loss=weights), RegularizerConfig))
    total, parts = recipe.loss(tile, np.random.default_rng(0))
    assert parts.keys() == weights.keys()
    assert float(total.detach()) == pytest.approx(
        sum(weights[name] * value for name, value in parts.items()), rel=1e-5
    )


@pytest.mark.parametrize(("augment", "same"), [(True, False), (False, True)])
def test_augmentation_is_a_setting(values, tile, augment, same):
    recipe = our_recipe(check_config(values(augment=augment), MatchingConfig))
    prepared = recipe.prepare(tile, np.random.default_rng(3))
    assert (prepared.position is tile.position) is same
    assert prepared.classical is not None
    assert prepared.classical.displacement.shape == tile.truth.shape
    assert np.array_equal(prepared.position, recipe.prepare(tile, np.random.default_rng(3)).position)


def test_a_few_steps_on_one_tile_bring_its_cost_towards_the_truth(values, tile, a_few_steps):
    torch.manual_seed(0)
    recipe = our_recipe(check_config(values(), MatchingConfig))
    optimizer = torch.optim.AdamW([p for p in recipe.network.parameters() if p.requires_grad], lr=5e-3)
    losses = a_few_steps(recipe, tile, optimizer)
    assert losses[-1] < 0.95 * losses[0]


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
    nothing = figures([TileAnswer(tile, tile.position[..., 0], tile.truth)])
    assert np.isnan(list(nothing.values())).all()


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
