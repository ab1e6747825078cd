"""A validation: measure the network, averaged if it is, draw it, and write its weights and their card."""

from __future__ import annotations

import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import mesoface
from mesoface.files.atomic import atomic_file
from mesoface.files.weights import CARD, WEIGHTS, TrainingCard
from mesoface.lab.training.checkpoint import save_tensors, trained_parameters
from mesoface.lab.training.config import RunConfig
from mesoface.lab.training.log import PICTURE, Log
from mesoface.lab.training.recipe import Answer, Recipe, Sample
from mesoface.running.progress import ProgressCallback, silent

# Rows of a picture at most, its pixels for each map, and above each column of maps.
_SHOWN, _SIDE, _LINE = 6, 192, 20


def contact_sheet(
    titles: Sequence[str], answers: Sequence[Answer], row_of: Callable[[Answer], Sequence[NDArray]]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: rows of maps for six answers at most, spread evenly over all.

    Args:
        titles: of the columns.
        answers: all of them.
        row_of: makes an image (h, w, 3) in [0, 1] for each column.
    """
    shown = np.linspace(0, len(answers) - 1, min(_SHOWN, len(answers))).round().astype(int)
    strips = [np.concatenate([_title(words) for words in titles], axis=1)]
    strips += [np.concatenate([_square(image) for image in row_of(answers[n])], axis=1) for n in shown]
    return np.round(np.concatenate(strips).clip(0, 1) * 255).astype(np.uint8)


def _title(words: str) -> NDArray[np.float64]:
    """``words`` above a column of the picture."""
    strip = np.ones((_LINE, _SIDE, 3))
    origin = (4, _LINE - 6)
    cv2.putText(strip, words, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0.15,) * 3, 1, cv2.LINE_AA)
    return strip


def _square(image: NDArray) -> NDArray[np.float64]:
    """``image`` fitted into a square of the picture, a white line around it."""
    height, width = image.shape[:2]
    inner = _SIDE - 4
    scale = inner / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(image.astype(np.float64), size, interpolation=cv2.INTER_NEAREST)
    square = np.ones((_SIDE, _SIDE, 3))
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = fitted
    return square


class Validator:
    """Measures a network on the configuration's validation samples, which are opened the first time.

    Args:
        config: of the run.
        recipe: the network, and how its answers are judged.
        data: what it is trained on, in words.
        log: where figures go.
        stop: a validation is left unfinished when a stop is requested.
    """

    def __init__(
        self, config: RunConfig, recipe: Recipe, data: Sequence[str], log: Log, stop: Callable[[], bool]
    ):
        self._config, self._recipe, self._data, self._log, self._stop = config, recipe, data, log, stop
        self._unseen: Sequence | None = None
        self._reference: dict[str, float] = {}

    def validate(self, step: int, seconds: float) -> None:
        """Measure the network after ``step`` steps that took ``seconds``, unless that is done."""
        if self._log.last_validation == step:
            return
        recipe, out = self._recipe, self._config.out
        if self._unseen is None:
            self._unseen = recipe.open_unseen(self._config, self._log.progress)
            self._reference = recipe.reference(self._unseen, self._log)
        network = recipe.network.train(False)
        found = all_answers(recipe, self._unseen, self._stop, self._log.progress)
        network.train()
        if found is None:
            return
        measured = recipe.figures(found)
        save_network(out, network, self._card(step, seconds, measured | self._reference))
        with atomic_file(out / PICTURE) as temporary:
            Image.fromarray(recipe.picture(found)).save(temporary)
        # last: with it this validation is done
        self._log.validation(step, measured, *recipe.in_words(measured))

    def _card(self, steps: int, seconds: float, figures: Mapping[str, float]) -> TrainingCard:
        """The network's card after ``steps`` steps that took ``seconds``, with the last ``figures``."""
        cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
        return TrainingCard(
            network=self._recipe.name,
            stage=self._config.stage,
            parameters=sum(parameter.numel() for parameter in self._recipe.network.parameters()),
            data=tuple(self._data),
            config=self._config.model_dump(mode="json"),
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            seed=self._config.seed,
            steps=steps,
            hours=round(seconds / 3600, 3),
            machine=f"{cpu}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else cpu,
            mesoface=mesoface.__version__,
            torch=torch.__version__,
            figures={name: round(value, 5) for name, value in figures.items() if math.isfinite(value)},
        )


def all_answers(
    recipe: Recipe[Sample, Answer],
    samples: Sequence[Sample],
    stopped: Callable[[], bool],
    progress: ProgressCallback = silent,
) -> list[Answer] | None:
    """The network's answer to each sample; None when it was ``stopped`` before the last one."""
    found: list[Answer] = []
    while len(found) < len(samples):
        if stopped():
            return None
        progress("validation", len(found), len(samples))
        found += recipe.answers(samples[len(found) : len(found) + recipe.at_a_time])
    progress("validation", len(found), len(samples))
    return found


class WeightAverage:
    """Exponential moving average (Polyak 1992) of the trained parameters of a network.

    Args:
        network: whose parameters are averaged; frozen ones and buffers stay as they are.
        decay: share of the average that a step keeps. Less at the beginning, so that the first weights are
            soon forgotten.
        state: an average to continue, as :attr:`state` gave it; empty to begin from the weights.
    """

    def __init__(self, network: nn.Module, decay: float, state: Mapping[str, Tensor]):
        self._trained, self._decay = trained_parameters(network), decay
        self.state = {
            name: state.get(name, parameter).detach().to(parameter.device, copy=True)
            for name, parameter in self._trained.items()
        }
        """{name of the parameter: its average}"""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        decay = min(self._decay, step / (10 + step))
        for name, parameter in self._trained.items():
            self.state[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The network has the averaged weights for a block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._trained.items():
            own = parameter.clone()
            parameter.copy_(self.state[name])
            self.state[name] = own


def save_network(folder: Path, network: nn.Module, card: TrainingCard) -> Path:
    """Write ``weights.safetensors`` and ``card.json``; the weights' path."""
    save_tensors(folder / WEIGHTS, network.state_dict(), {"format": card.format, "network": card.network})
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder / WEIGHTS
