"""What the training loop asks of a network and its loss: the one interface between them."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.lab.training.tile import Tile

Stage = Literal["matching", "regularizer"]


class Recipe(Protocol):
    """A network, what it is trained for, and how its answer is read.

    The loop moves ``network`` to its device, switches it between training and evaluation mode, and trains the
    parameters that have ``requires_grad`` set. The recipe puts a tile's arrays where the network is.
    """

    network: nn.Module

    def prepare(self, tile: Tile, rng: np.random.Generator) -> Tile:
        """The tile as training sees it (augmentation). Runs in loader processes, away from the network."""
        ...

    def loss(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and its parts for the log, of a tile that was prepared.

        All that is random comes from ``rng``, or from torch's global generator, which the loop seeds.
        """
        ...

    def predict(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(T, T) displacement in mm, and (T, T) confidence in any monotonous measure: more is surer."""
        ...
