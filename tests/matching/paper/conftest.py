"""The paper's networks with the checkpoints of the original implementation, where those are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mesoface.files.weights import Network, load_network
from mesoface.matching.paper import ImplicitFunction, Regularizer
from mesoface.matching.paper.matcher import PaperNetworks
from mesoface.weights import import_checkpoints


@pytest.fixture(scope="session")
def published(shared, tmp_path_factory) -> Callable[[str, Network], nn.Module]:
    """``published("checkpoint_if.pkl", IMPLICIT_FUNCTION)`` → that network, imported and loaded."""

    def load(checkpoint: str, network: Network) -> nn.Module:
        source = shared(f"reference/{checkpoint}")
        (file,) = import_checkpoints([source], tmp_path_factory.mktemp("weights") / "out")
        return load_network(file, network)

    return load


@pytest.fixture(scope="session")
def golden(shared) -> Callable[[str], dict[str, torch.Tensor]]:
    """``golden("if_golden.npz")`` → its arrays as tensors."""

    def load(name: str) -> dict[str, torch.Tensor]:
        path: Path = shared(f"reference/{name}")
        with np.load(path) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load


def agreeing_networks() -> PaperNetworks:
    """Networks set by hand: the cost is high where random features differ little, the regulariser averages.

    So the photos' agreement is found, without training.
    """
    torch.manual_seed(0)
    function, regularizer = ImplicitFunction().eval(), Regularizer().eval()
    layers = function.surface_classifier
    with torch.no_grad():
        for value in [*layers.parameters(), *regularizer.parameters()]:
            value.zero_()
        layers.conv0.weight[0, :128] = 1.0  # the sum of the channels' variances
        for layer in (layers.conv1, layers.conv2, layers.conv3):
            layer.weight[0, 0] = 1
        layers.conv4.weight[0, 0], layers.conv4.bias[0] = -0.5, 1.0
        regularizer.conv0.conv.weight[0, 0, 1] = 1 / 9  # the mean of three by three texels
        regularizer.conv0.bn.weight[0] = 1
        regularizer.last_conv.weight[0, 0, 1, 1, 1] = 100
    return PaperNetworks(function, regularizer)


@pytest.fixture(scope="session")
def agreeing() -> PaperNetworks:
    """:func:`agreeing_networks`."""
    return agreeing_networks()


@pytest.fixture
def agreeing_weights(agreeing, tmp_path) -> Path:
    """The folder that an import of the hand-set networks' checkpoints makes."""
    for name, network in (("if.pkl", agreeing.function), ("reg.pkl", agreeing.regularizer)):
        torch.save({"model_state_dict": network.state_dict()}, tmp_path / name)
    import_checkpoints([tmp_path / "if.pkl", tmp_path / "reg.pkl"], tmp_path / "weights")
    return tmp_path / "weights"
