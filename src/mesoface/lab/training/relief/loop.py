"""Training on squares, on a CPU or a GPU, stopped and resumed at any step.

What happens in step s depends on the configuration's seed and on s alone, so that an interrupted run that
goes on ends with an undisturbed one's weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

import numpy as np
import torch
from PIL import Image

from mesoface.files.atomic import atomic_file
from mesoface.files.cards import WEIGHTS
from mesoface.lab.training.average import WeightAverage
from mesoface.lab.training.card import save_network, training_card
from mesoface.lab.training.checkpoint import Header, save_checkpoint
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.interrupt import StopRequest
from mesoface.lab.training.log import Averages, Log
from mesoface.lab.training.loop import Outcome
from mesoface.lab.training.relief.config import MesoConfig
from mesoface.lab.training.relief.data import Batch, Samples
from mesoface.lab.training.relief.loss import relief_error
from mesoface.lab.training.relief.pool import SquarePool
from mesoface.lab.training.relief.recipe import Recipe
from mesoface.lab.training.relief.validation import answers, figures, in_words, picture
from mesoface.lab.training.resume import CHECKPOINTS, last_checkpoint
from mesoface.lab.training.schedule import learning_rate
from mesoface.lab.training.validator import PICTURE

STAGE: Final = "meso"


class MesoTraining:
    """One run: network, optimiser, squares and logs, from the last checkpoint on.

    Args:
        config: of the run.
        recipe: the network with first weights.
        pools: squares to train on.
        unseen: squares to validate on.
        device: that it runs on.
        stop: asked after every step whether to end here.

    Raises:
        MesofaceError: the last checkpoint is damaged, or of another configuration or other squares.
    """

    def __init__(
        self,
        config: MesoConfig,
        recipe: Recipe,
        pools: Sequence[SquarePool],
        unseen: Sequence[SquarePool],
        device: torch.device,
        stop: StopRequest,
    ):
        self._config, self._recipe, self._device, self._stop = config, recipe, device, stop
        self._contents = tuple(pool.contents for pool in pools)
        self._samples = Samples(pools, config.seed)
        self._unseen = [(pool[n], pool.texel_mm) for pool in unseen for n in range(len(pool))]
        self._network = recipe.network.to(device).train()
        optimizer = config.optimizer
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), optimizer.rate, weight_decay=optimizer.weight_decay
        )
        last = last_checkpoint(config, STAGE, self._contents)
        self.step, self._seconds = 0, 0.0
        if last is not None:
            last.restore(self._network, self._optimizer)
            self.step, self._seconds = last.header.step, last.header.seconds
        self._average = None
        if config.average:
            earlier = last.average if last is not None else {}
            self._average = WeightAverage(self._network, config.average, earlier)
        self._log = Log(config.out, self.step, config.steps, tensorboard=config.tensorboard)

    def run(self) -> Outcome:
        """Train to the last step, or until it is asked to stop.

        Raises:
            TrainingError: a loss or a gradient is not a finite number.
        """
        with self._log.shown():
            self._run()
        finished = self.step == self._config.steps == self._log.last_validation
        return Outcome(self.step, finished, self._config.out / WEIGHTS)

    def _run(self) -> None:
        config, means = self._config, Averages()
        if self._due(config.validation.every):  # the very start; or a crash came between checkpoint and this
            self._validate()
        began = time.monotonic() - self._seconds
        while self.step < config.steps:
            values = self._one_step()
            self.step += 1
            self._seconds = time.monotonic() - began
            if self._average is not None:
                self._average.update(self.step)
            means.add(values)
            stopped = self._stop()
            self._log.step(self.step, values["loss"])
            if self._due(config.log_every):
                self._log.training(self.step, means.take() | {"seconds": self._seconds})
            if self._due(config.checkpoint_every) or stopped:
                self._keep()
            if stopped:
                return
            if self._due(config.validation.every):
                self._validate()

    def _one_step(self) -> dict[str, float]:
        """One optimiser step; loss, share of the slope that is left, gradient and rate."""
        config = self._config
        rate = learning_rate(self.step, config.steps, config.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        first = self.step * config.batch
        batch = Batch.of([self._samples[first + n] for n in range(config.batch)], self._device)
        error = relief_error(self._recipe.relief(batch), batch.relief, batch.valid)
        loss = error.loss(config.loss)
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), config.optimizer.clip)
        values = {
            "loss": float(loss.detach()),
            "slope_left": error.left,
            "gradient": float(norm),
            "rate": rate,
        }
        if not np.isfinite(list(values.values())).all():
            raise TrainingError(
                f"step {self.step}: the loss is {values['loss']}, the gradient's norm {values['gradient']}; "
                "the last checkpoint stays",
                path=config.out,
                remedy="start again, with --fresh and a lower optimizer.rate",
            )
        self._optimizer.step()
        return values

    def _keep(self) -> None:
        """Write a checkpoint."""
        header = Header(
            stage=STAGE,
            step=self.step,
            seconds=self._seconds,
            config=self._config.model_dump(mode="json"),
            data=self._contents,
        )
        average = self._average.state if self._average is not None else {}
        save_checkpoint(self._config.out / CHECKPOINTS, header, self._network, self._optimizer, average)

    def _validate(self) -> None:
        """Measure the network, averaged if it is, and write it, unless that is done; stops when asked to."""
        if self._log.last_validation == self.step:
            return
        config = self._config
        with self._average.used() if self._average is not None else nullcontext():
            self._network.train(False)
            found = answers(
                self._recipe, self._unseen, config.batch, self._device, self._stop, self._log.progress
            )
            self._network.train()
            if found is None:
                return
            measured = figures(found)
            card = training_card(
                config,
                self._network,
                name=self._recipe.name,
                stage=STAGE,
                data=self._contents,
                steps=self.step,
                seconds=self._seconds,
                figures=measured,
            )
            save_network(config.out, self._network, card)
        with atomic_file(config.out / PICTURE) as temporary:
            Image.fromarray(picture(found)).save(temporary)
        # last: with it this validation is done
        short = f"{100 * measured['slope_left']:.1f} % left"
        self._log.validation(self.step, measured, in_words(measured), short)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._config.steps
