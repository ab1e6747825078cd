"""The running average of the weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mesoface.lab.training.average import WeightAverage
from mesoface.lab.training.config import check_config
from mesoface.lab.training.run import train


def test_it_is_the_exponential_average_after_its_beginning():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(100.0)
    average = WeightAverage(network, 0.9, {})
    values = [float(n) for n in range(1, 200)]
    for step, value in enumerate(values, start=1):
        network.weight.data.fill_(value)
        average.update(step)
    # of a ramp of slope one the average lags by decay / (1 - decay); the first weights are forgotten
    assert float(average.state["weight"]) == pytest.approx(values[-1] - 9, abs=1e-3)


def test_used_and_given_back_to_the_bit():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    network[0].bias.requires_grad_(False)
    average = WeightAverage(network, 0.5, {})
    assert average.state.keys() == {"0.weight", "1.weight", "1.bias"}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        network[0].weight.mul_(1 / 3)
    average.update(100)
    own = network[0].weight.detach().clone()
    with average.used():
        assert torch.equal(network[0].weight, average_of(before["0.weight"], own))
        assert network[0].weight.requires_grad
    assert torch.equal(network[0].weight, own)
    assert torch.equal(average.state["0.weight"], average_of(before["0.weight"], own))


def average_of(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first.lerp(second, 0.5)


@pytest.mark.usefixtures("toy_training")
def test_it_survives_an_interruption_and_is_what_is_written(values, tmp_path):
    level = {"optimizer": {"rate": 0.01, "warmup": 0, "schedule": "constant"}, "average": 0.9}
    train(check_config(values(steps=10, out=str(tmp_path / "whole"), **level), "matching"), "matching")
    for steps in (5, 10):
        train(check_config(values(steps=steps, **level), "matching"), "matching")
    written = [load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "run")]
    assert all(torch.equal(written[0][name], written[1][name]) for name in written[0])
    last = load_file(tmp_path / "run" / "checkpoints" / "step-00000010.safetensors")
    assert torch.equal(written[1]["0.weight"], last["average/0.weight"])
    assert not torch.equal(written[1]["0.weight"], last["network/0.weight"])


@pytest.mark.usefixtures("toy_training")
def test_a_run_may_begin_to_average_later(values, tmp_path):
    train(check_config(values(steps=4), "matching"), "matching")
    assert train(check_config(values(steps=8, average=0.9), "matching"), "matching").finished
    last = load_file(tmp_path / "run" / "checkpoints" / "step-00000008.safetensors")
    assert any(name.startswith("average/") for name in last)
