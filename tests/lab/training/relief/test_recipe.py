"""Recipes of relief: the loss, the same high-pass as in use, and the networks that are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mesoface.files.weights import load_network
from mesoface.lab.training.config import ReliefConfig, ReliefLoss, TrainingError, check_config
from mesoface.lab.training.relief.pool import Batch
from mesoface.lab.training.relief.recipe import LightRecipe, high_pass, relief_error, relief_recipe
from mesoface.lab.training.relief.skin import Square
from mesoface.lab.training.run import train
from mesoface.relief import inputs
from mesoface.relief.network import MESO_GENERATOR, ReliefGenerator
from mesoface.weights import describe

BOTH = ReliefLoss(slope=1.0, height=1.0)


@pytest.fixture
def relief() -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).normal(0, 1, (3, 1, 24, 24)).astype(np.float32))


def test_the_truth_costs_nothing_and_nothing_costs_one(relief):
    everywhere = torch.ones_like(relief)
    assert float(relief_error(relief, relief, everywhere).loss(BOTH)) == 0
    deep = 10 * relief  # so that the floor does not matter
    nothing = relief_error(torch.zeros_like(deep), deep, everywhere)
    assert nothing.left == pytest.approx(1)
    for weights in (ReliefLoss(), ReliefLoss(slope=0, height=1)):
        assert float(nothing.loss(weights)) == pytest.approx(1, abs=0.01)
    assert float(relief_error(-deep, deep, everywhere).loss(ReliefLoss())) > 1.9


def test_a_constant_has_no_slope_but_a_height(relief):
    error = relief_error(relief + 1, relief, torch.ones_like(relief))
    assert float(error.slope.max()) < 1e-5
    assert float(error.height.min()) > 0.99


def test_squares_count_alike_however_deep_they_are(relief):
    deep = relief * torch.tensor([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
    error = relief_error(0.5 * deep, deep, torch.ones_like(deep))
    shares = error.slope / error.slope_missing
    assert float((shares - 0.5).abs().max()) < 0.01


def test_what_is_no_skin_counts_nowhere(relief):
    valid = torch.ones_like(relief)
    valid[..., :12] = 0
    wrong = relief.clone()
    wrong[..., :12] += torch.linspace(0, 50, 12)
    assert float(relief_error(wrong, relief, valid).loss(BOTH)) == 0
    nowhere = relief_error(wrong, relief, torch.zeros_like(valid))
    assert float(nowhere.loss(BOTH)) == 0


def test_the_high_pass_is_the_one_of_the_results():
    rng = np.random.default_rng(1)
    height = rng.normal(0, 1, (40, 48)).astype(np.float32)
    valid = np.ones((40, 48), bool)
    valid[10:20, 30:] = False
    wanted = inputs.high_pass(height, valid)
    as_tensor = torch.as_tensor(height)[None, None], torch.as_tensor(valid, dtype=torch.float32)[None, None]
    np.testing.assert_allclose(high_pass(*as_tensor)[0, 0].numpy(), wanted, atol=2e-5)


def test_every_weight_gets_a_gradient(relief):
    rng = np.random.default_rng(2)
    square = Square(
        rng.normal(0, 1, (inputs.CHANNELS, 24, 24)).astype(np.float16),
        relief[0, 0].numpy().astype(np.float16),
        np.ones((24, 24), bool),
        np.zeros((24, 24, 3), np.uint8),
    )
    batch = Batch.of([(square, 0.2)], "cpu")
    torch.manual_seed(0)
    network = ReliefGenerator()
    relief_error(LightRecipe(network).relief(batch), batch.relief, batch.valid).loss(BOTH).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A constant is high-passed away, so the last bias alone may have none.
        assert parameter.grad.abs().max() > 0 or name == "leave.bias", name


@pytest.mark.usefixtures("easy_pools")
def test_the_papers_network_takes_a_step(square_values, tmp_path):
    loss = {"slope": 1.0, "height": 1.0}
    config = check_config(square_values(network="paper", width=4, steps=1, batch=2, loss=loss), ReliefConfig)
    assert train(config).finished
    weights = tmp_path / "run" / "weights.safetensors"
    about = describe(weights)
    assert (about.network.name, about.ngf) == ("meso_generator", 4)
    torch.manual_seed(config.seed)
    first = relief_recipe(config).network.state_dict()
    trained = load_network(weights, MESO_GENERATOR).state_dict()
    changed = [name for name in first if not torch.equal(first[name], trained[name])]
    assert {name for name in first if name.endswith("weight")} <= set(changed)


@pytest.mark.usefixtures("easy_pools")
def test_it_starts_from_weights_of_the_same_network(square_values, tmp_path):
    train(check_config(square_values(steps=2), ReliefConfig))
    weights = str(tmp_path / "run" / "weights.safetensors")
    again = check_config(square_values(init=weights), ReliefConfig)
    first = relief_recipe(again).network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in load_file(weights).items())
    with pytest.raises(TrainingError, match="does not fit the network to train"):
        relief_recipe(check_config(square_values(init=weights, network="paper", width=4), ReliefConfig))


@pytest.mark.usefixtures("easy_pools")
def test_other_squares_are_refused(square_values):
    train(check_config(square_values(steps=1), ReliefConfig))
    with pytest.raises(TrainingError, match=r"data: .*'squares': 7.*, now .*'squares': 9"):
        train(check_config(square_values(data=[{"kind": "skin", "squares": 9, "seed": 0}]), ReliefConfig))
