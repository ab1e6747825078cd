"""What the paper's networks make of seeded weights and inputs: the numbers that their tests pin.

    python scripts/paper_numbers.py > tests/matching/paper/numbers.json

Run it only while the contract tests against the original implementation's numbers pass. Weights and inputs
come from NumPy's PCG64 as plain uniform numbers, so that they are the same on every machine.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn

from mesoface.matching.paper import ImplicitFunction, Regularizer
from mesoface.relief.network import MesoGenerator

KEPT = 12  # numbers of each output


def seeded(shape: tuple[int, ...], rng: np.random.Generator, low: float = -1, high: float = 1) -> Tensor:
    """Uniform float32 numbers of ``shape``."""
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def seed_weights(network: nn.Module, rng: np.random.Generator) -> nn.Module:
    """Fill a network, in the order of its names; in eval mode. Larger than torch's own: outputs vary more."""
    for name, value in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        fan_in = value[0].numel() if value.ndim > 1 else 1
        low, high = (0.5, 1.5) if name.endswith(("running_var", "bn.weight", ".1.weight")) else (-1, 1)
        if value.ndim > 1:
            low, high = -((6 / fan_in) ** 0.5), (6 / fan_in) ** 0.5
        value.copy_(seeded(tuple(value.shape), rng, low, high))
    return network.eval()


def cameras(views: int) -> Tensor:
    """(V, 3, 4) projections into 12 × 16 features: on an arc around the origin, five units away."""
    K = np.array([[24, 0, 7.5], [0, 24, 5.5], [0, 0, 1]])
    projections = []
    for angle in np.linspace(-0.6, 0.6, views):
        R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        projections.append(K @ np.column_stack([R, [0, 0, 5]]))
    return torch.from_numpy(np.stack(projections))


@torch.no_grad()
def outputs() -> dict[str, Tensor]:
    """Flattened outputs of each network."""
    rng = np.random.default_rng(20220)
    function = seed_weights(ImplicitFunction(), rng)
    features = function.image_filter(seeded((4, 3, 24, 32), rng, 0, 255))
    costs = function(features, cameras(4), seeded((KEPT, 3), rng), seeded((KEPT,), rng))
    regularizer = seed_weights(Regularizer(), rng)
    volume, mask = seeded((1, 1, 13, 8, 12), rng, 0, 1), (seeded((1, 8, 12), rng) > -0.5).float()
    displacement = regularizer(volume, torch.arange(-6.0, 7)[None], mask)
    generator = seed_weights(MesoGenerator(2), rng)
    detail = generator(seeded((1, 3, 48, 32), rng))
    found = {"features": features, "costs": costs, "displacement": displacement, "detail": detail}
    return {name: value.flatten() for name, value in found.items()}


def numbers() -> dict[str, list[float]]:
    """:data:`KEPT` numbers of each output, evenly spread, then the mean of all of it."""
    kept = {}
    for name, value in outputs().items():
        spread = value[torch.linspace(0, len(value) - 1, KEPT).round().long()]
        kept[name] = [round(float(x), 6) + 0.0 for x in [*spread, value.mean()]]
    return kept


if __name__ == "__main__":
    print(json.dumps(numbers(), indent=1))
