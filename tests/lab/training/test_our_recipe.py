"""Our matcher trained: what each stage moves, what is frozen, what its answer is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mesoface.errors import MesofaceError
from mesoface.lab.training.checkpoint import save_tensors
from mesoface.lab.training.config import MatchingConfig, RegularizerConfig, check_config
from mesoface.lab.training.our_recipe import our_recipe
from mesoface.lab.training.patches import patch_tile


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


def test_the_matching_stage_trains_features_and_implicit_function(values, tile):
    recipe = our_recipe(check_config(values(), MatchingConfig))
    assert gradients(recipe, tile) == {"features", "implicit_function"}
    trained = {name.split(".")[0] for name, p in recipe.network.named_parameters() if p.requires_grad}
    assert trained == {"features", "implicit_function"}


def test_the_regularizer_stage_trains_everything(values, tile):
    recipe = our_recipe(check_config(values(), RegularizerConfig))
    assert gradients(recipe, tile) == {"features", "implicit_function", "regularizer", "refinement"}


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


def test_a_few_steps_on_one_tile_bring_its_cost_towards_the_truth(values, tile):
    torch.manual_seed(0)
    recipe = our_recipe(check_config(values(), MatchingConfig))
    optimizer = torch.optim.AdamW([p for p in recipe.network.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(25):
        loss, _ = recipe.loss(tile, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]
