"""The paper's networks with the checkpoints of the original implementation, where those are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mesoface.weights import import_checkpoints, load_network


@pytest.fixture(scope="session")
def published(shared, tmp_path_factory) -> Callable[[str, str], nn.Module]:
    """``published("checkpoint_if.pkl", "implicit_function")`` → that network, imported and loaded."""

    def load(checkpoint: str, name: str) -> nn.Module:
        source = shared(f"reference/{checkpoint}")
        (file,) = import_checkpoints([source], tmp_path_factory.mktemp("weights") / "out")
        return load_network(file, name)

    return load


@pytest.fixture(scope="session")
def golden(shared) -> Callable[[str], dict[str, torch.Tensor]]:
    """``golden("if_golden.npz")`` → its arrays as tensors."""

    def load(name: str) -> dict[str, torch.Tensor]:
        path: Path = shared(f"reference/{name}")
        with np.load(path) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return load
