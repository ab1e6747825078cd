"""The interface between the training loop and a network: data, loss, and how answers are judged."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mesoface.lab.training.config import MatchingConfig, ReliefConfig, RunConfig, TrainingError
from mesoface.lab.training.log import Log
from mesoface.running.progress import ProgressCallback

Sample = TypeVar("Sample")
Sample_co = TypeVar("Sample_co", covariant=True)
Answer = TypeVar("Answer")


class TrainingData(Protocol[Sample_co]):
    """The samples of a training; sample k is a function of the configuration's seed and of k alone.

    Args:
        contents: what each source holds; a run is not resumed with other contents.
        described: each source in words, for the card.
    """

    contents: tuple[str, ...]
    described: tuple[str, ...]

    def load(self, numbers: Sequence[int]) -> Generator[Sample_co, None, None]:
        """The samples of these numbers, in that order, as training sees them."""
        ...


class Recipe(Protocol[Sample, Answer]):
    """A network, what it is trained on and for, and how its answers are judged.

    The loop moves ``network`` to its device, switches it between training and evaluation mode, and trains the
    parameters that have ``requires_grad`` set. The recipe puts samples where the network is.

    Args:
        network: with first weights.
        name: of the network, as in ``mesoface.weights.NETWORKS``.
        at_a_time: how many samples go through the network together: 1, or a whole batch.
    """

    network: nn.Module
    name: str
    at_a_time: int

    def open_data(self, config: RunConfig) -> TrainingData[Sample]:
        """What it is trained on.

        Raises:
            MesofaceError: a source is not there, or holds nothing of use.
        """
        ...

    def open_unseen(self, config: RunConfig, progress: ProgressCallback) -> Sequence[Sample]:
        """What it is validated on: the same samples every time."""
        ...

    def batch_loss(
        self, samples: Sequence[Sample], rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, a mean over the samples, and its parts for the log.

        All that is random comes from ``rng``, or from torch's global generator, which the loop seeds.
        """
        ...

    def answers(self, samples: Sequence[Sample]) -> list[Answer]:
        """The answer of the network, which is in evaluation mode, to each sample."""
        ...

    def figures(self, answers: Sequence[Answer]) -> dict[str, float]:
        """Figures over all answers: the columns of ``validation.csv``."""
        ...

    def in_words(self, figures: Mapping[str, float]) -> tuple[str, str]:
        """Figures as a sentence, and the one that matters most in a few words."""
        ...

    def picture(self, answers: Sequence[Answer]) -> NDArray[np.uint8]:
        """(H, W, 3) RGB: a few answers beside the truth."""
        ...

    def reference(self, unseen: Sequence[Sample], log: Log) -> dict[str, float]:
        """Figures, for the card, of what the network is compared with."""
        ...

    def write_samples(self, path: Path, samples: Sequence[Sample]) -> None:
        """Write samples to an ``.npz`` file, for people to look at."""
        ...


def make_recipe(config: RunConfig) -> Recipe:
    """The network of ``config`` with first weights, ready for its stage.

    Raises:
        MesofaceError: weights that it should start from do not fit.
    """
    if isinstance(config, ReliefConfig):
        from mesoface.lab.training.relief.recipe import relief_recipe

        return relief_recipe(config)
    if not isinstance(config, MatchingConfig):
        raise TrainingError(f"there is no recipe for {type(config).__name__}")
    if config.network == "paper":
        from mesoface.lab.training.paper_recipe import paper_recipe

        return paper_recipe(config)
    from mesoface.lab.training.our_recipe import our_recipe

    return our_recipe(config)


def make_data(config: RunConfig) -> None:
    """Make what training reads and what takes too long to be made on the way: pools of squares.

    Raises:
        MesofaceError: it cannot be made.
        InterruptedJobsError: Ctrl-C; what was made is kept.
    """
    if isinstance(config, ReliefConfig):
        from mesoface.lab.training.relief.recipe import make_squares

        make_squares(config)
