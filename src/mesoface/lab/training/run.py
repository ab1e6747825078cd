"""From a configuration to a finished, or interrupted, training: one loop for every network.

It runs on a CPU, a GPU or several, and may be stopped and resumed at any step.

What happens to sample k depends on the configuration's seed and on k alone: which sample it is, how it is
disturbed, and what torch draws. So an interrupted run that is resumed ends with an undisturbed one's weights.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mesoface.errors import MesofaceError
from mesoface.files.weights import WEIGHTS
from mesoface.lab.training.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    Header,
    bad_batch,
    last_checkpoint,
    locked,
    save_checkpoint,
    start_afresh,
    trained_parameters,
)
from mesoface.lab.training.config import Machine, OptimizerSettings, RunConfig, TrainingError
from mesoface.lab.training.log import Log
from mesoface.lab.training.processes import Processes, StopRequest, end_helpers, lost_helper
from mesoface.lab.training.recipe import Recipe, TrainingData, make_data, make_recipe
from mesoface.lab.training.validation import Validator, WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LOSS = 2  # what random numbers are for: a stream that meets none of the data's


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended.

    Args:
        step: optimiser steps done.
        finished: whether these are all, and validated.
        weights: the file with the weights as they were last validated; None in processes that only help.
    """

    step: int
    finished: bool
    weights: Path | None


class _Objective(nn.Module):
    """What Fabric wraps: the network, with the whole computation of the loss as its forward pass."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, loss: Callable[[], tuple[Tensor, dict[str, float]]]) -> tuple[Tensor, dict[str, float]]:
        return loss()


class Training:
    """One run: network, optimiser, data and logs, from the last checkpoint on.

    Args:
        config: of the run.
        recipe: the network with first weights, its data and its loss.
        fabric: launched.
        processes: of ``fabric``.
        stop: whether to end, checked after every step.

    Raises:
        MesofaceError: the data, or the checkpoint to resume from, cannot be used.
    """

    def __init__(
        self, config: RunConfig, recipe: Recipe, fabric: Fabric, processes: Processes, stop: StopRequest
    ):
        self._config, self._recipe, self._fabric = config, recipe, fabric
        self._processes, self._stop = processes, stop
        self._share = config.batch // processes.count
        self._data, last = processes.together(self._opened)
        trained = trained_parameters(recipe.network).values()
        self._optimizer = torch.optim.AdamW(trained, weight_decay=config.optimizer.weight_decay)
        self._objective, self._stepper = fabric.setup(_Objective(recipe.network), self._optimizer)
        self.step, self._seconds = 0, 0.0
        if last is not None:
            last.restore(recipe.network, self._optimizer)
            self.step, self._seconds = last.header.step, last.header.seconds
        self._log = self._validator = self._average = None
        if fabric.is_global_zero:
            self._log = Log(config.out, self.step, config.steps, tensorboard=config.tensorboard)
            self._validator = Validator(config, recipe, self._data.described, self._log, stop)
            if config.average:
                earlier = last.average if last is not None else {}
                self._average = WeightAverage(recipe.network, config.average, earlier)

    def _opened(self) -> tuple[TrainingData, Checkpoint | None]:
        """The data, and the checkpoint to resume from."""
        data = self._recipe.open_data(self._config)
        return data, last_checkpoint(self._config, data.contents)

    def run(self) -> TrainingOutcome:
        """Train to the last step, or until a stop is requested.

        Raises:
            TrainingError: a loss or a gradient is not a finite number.
        """
        with self._log.shown() if self._log is not None else nullcontext():
            if self._due(self._config.validation.every):  # at the start; or a crash came before it was done
                self._processes.together(self._validate)
            with closing(self._data.load(self._numbers())) as samples:
                self._steps(samples)
        if self._log is None:
            return TrainingOutcome(self.step, self.step == self._config.steps, None)
        finished = self.step == self._config.steps == self._log.last_validation
        return TrainingOutcome(self.step, finished, self._config.out / WEIGHTS)

    def _steps(self, samples: Iterator[Any]) -> None:
        config, logged = self._config, list[dict[str, float]]()
        began = time.monotonic() - self._seconds
        while self.step < config.steps:
            batch = self._processes.together(lambda: list(islice(samples, self._share)))
            values = self._one_step(batch)
            self.step += 1
            self._seconds = time.monotonic() - began
            if self._average is not None:
                self._average.update(self.step)
            stopped = self._processes.any(self._stop())
            if self._log is not None:
                self._log.step(self.step, values["loss"])
                logged.append(values)
                if self._due(config.log_every):
                    self._log.training(self.step, logged, self._seconds)
                    logged.clear()
            if self._due(config.checkpoint_every) or stopped:
                self._processes.together(self._keep)
            if stopped:
                return
            if self._due(config.validation.every):
                self._processes.together(self._validate)

    def _one_step(self, samples: Sequence[Any]) -> dict[str, float]:
        """One optimiser step on this process's share of a batch; loss, its parts, gradient and rate."""
        config, recipe, fabric = self._config, self._recipe, self._fabric
        rate = learning_rate(self.step, config.steps, config.optimizer)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        first = self.step * config.batch + fabric.global_rank * len(samples)
        parts = [samples[n : n + recipe.at_a_time] for n in range(0, len(samples), recipe.at_a_time)]
        rows = []
        for n, part in enumerate(parts):
            rng = np.random.default_rng([config.seed, _LOSS, first + n * recipe.at_a_time])
            torch.manual_seed(int(rng.integers(1 << 62)))
            with fabric.no_backward_sync(self._objective, enabled=n + 1 < len(parts)):
                loss, logged = self._objective(partial(recipe.batch_loss, part, rng))
                fabric.backward(loss / len(parts))
            rows.append({"loss": float(loss.detach())} | logged)
        norm = self._clip()
        means = self._processes.mean({name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
        if not np.isfinite([norm, *means.values()]).all():
            self._refuse(samples, first, rows, norm)
        self._stepper.step()
        self._stepper.zero_grad()
        return means | {"gradient": norm, "rate": rate}

    def _clip(self) -> float:
        """Shorten the gradient where it is too long; its length before."""
        norm = self._fabric.clip_gradients(
            self._objective,
            self._stepper,
            max_norm=self._config.optimizer.clip,
            error_if_nonfinite=False,  # it is looked at with the losses
        )
        return float(norm) if norm is not None else 0.0

    def _refuse(
        self, samples: Sequence[Any], first: int, rows: Sequence[dict[str, float]], norm: float
    ) -> None:
        """Stop before NaN gets into the weights; each process keeps the samples that it had."""
        path = self._config.out / bad_batch(self._processes.rank)
        self._recipe.write_samples(path, samples)
        wrong = [
            f"{name} of {self._named(first, len(samples), n)} is {value}"
            for n, row in enumerate(rows)
            for name, value in row.items()
            if not np.isfinite(value)
        ]
        named = self._processes.any(bool(wrong))
        what = "; ".join(wrong) or f"the gradient's norm is {norm}"

        def say() -> None:
            if wrong or not named:
                raise TrainingError(
                    f"step {self.step}: {what}; this file has the batch, and the last checkpoint is kept",
                    path=path,
                    remedy=f"look at these {self._config.samples}; or start again, with --fresh and a lower "
                    "optimizer.rate",
                )

        self._processes.together(say)

    def _named(self, first: int, count: int, part: int) -> str:
        """The samples of a part of a batch, of which this process's begins at sample ``first``."""
        if self._recipe.at_a_time == 1 or count == 1:
            return f"sample {first + part}"
        return f"samples {first} to {first + count - 1}"

    def _keep(self) -> None:
        """Write a checkpoint."""
        if self._log is not None:
            header = Header(
                stage=self._config.stage,
                step=self.step,
                seconds=self._seconds,
                config=self._config.model_dump(mode="json"),
                data=self._data.contents,
            )
            average = self._average.state if self._average is not None else {}
            folder = self._config.out / CHECKPOINTS
            save_checkpoint(folder, header, self._recipe.network, self._optimizer, average)

    def _validate(self) -> None:
        """Measure the network in the first process, averaged if it is; the others wait."""
        if self._validator is not None:
            with self._average.used() if self._average is not None else nullcontext():
                self._validator.validate(self.step, self._seconds)

    def _numbers(self) -> list[int]:
        """The numbers of the samples that are this process's, from the next step on."""
        config, first = self._config, self._processes.rank * self._share
        steps = range(self.step, config.steps)
        return [step * config.batch + first + n for step in steps for n in range(self._share)]

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._config.steps


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """Linear warm-up, then half a cosine from ``rate`` down to ``final_rate`` of it, or level.

    A function of the step alone: there is no state to restore.

    Args:
        step: from 0 to ``steps`` - 1.
        steps: of the whole training.
        settings: see :class:`OptimizerSettings`.
    """
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.rate
    progress = (step - settings.warmup) / max(1, steps - 1 - settings.warmup)
    height = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return settings.rate * (settings.final_rate + (1 - settings.final_rate) * height)


if TYPE_CHECKING:
    from lightning_fabric import Fabric

# One of these gives the address of the first of several machines.
_ELSEWHERE = {"MASTER_ADDR", "SLURM_JOB_ID"}


def train(config: RunConfig, *, fresh: bool = False) -> TrainingOutcome:
    """Train, from the last checkpoint in ``config.out`` on where there is one.

    Args:
        config: see :mod:`mesoface.lab.training.config`.
        fresh: start again from nothing; samples that were generated stay.

    Raises:
        MesofaceError: something about configuration, data, weights or checkpoint has to be mended, or a loss
            or a gradient is not a finite number.
        InterruptedJobsError: Ctrl-C while squares were made.
    """
    fabric = make_fabric(config.machine)
    fabric.launch()
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)  # after Fabric's own choice
    processes = Processes(fabric)
    try:
        return _train(config, fresh, fabric, processes)
    except MesofaceError:
        if processes.rank == 0:
            raise
        return TrainingOutcome(0, False, None)  # the first process has it, too, and reports it
    except RuntimeError as error:
        lost = lost_helper(fabric)
        if lost is None:
            raise
        raise TrainingError(
            f"{lost}; the last checkpoint is kept",
            path=config.out,
            remedy="look for its message above, or for a lack of memory; run the same command to resume",
        ) from error
    finally:
        end_helpers(fabric)


def _train(config: RunConfig, fresh: bool, fabric: Fabric, processes: Processes) -> TrainingOutcome:
    def claim() -> None:
        held.enter_context(locked(config.out))
        if fresh:
            start_afresh(config.out)
        make_data(config)

    with ExitStack() as held:
        stop = StopRequest()
        if processes.rank:  # a Ctrl-C while data is made is the first process's to report
            held.enter_context(stop)
        processes.first(claim)
        if not processes.rank:
            held.enter_context(stop)
        torch.manual_seed(config.seed)
        recipe = processes.together(lambda: make_recipe(config))
        return Training(config, recipe, fabric, processes, stop).run()


def make_fabric(machine: Machine) -> Fabric:
    """Lightning Fabric for a machine; not launched.

    Raises:
        MesofaceError: it is not installed, or there are no such devices.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MesofaceError(
            "training needs lightning-fabric, which is not installed", remedy="pip install 'mesoface[train]'"
        ) from None
    gpus = torch.cuda.device_count()
    device = ("cuda" if gpus else "cpu") if machine.device == "auto" else machine.device
    if device == "cuda" and machine.devices > gpus:
        raise MesofaceError(
            f"machine.devices = {machine.devices}, but the number of GPUs is {gpus}",
            remedy='lower machine.devices, or set machine.device = "cpu"',
        )
    if machine.nodes > 1 and not os.environ.keys() & _ELSEWHERE:
        raise TrainingError(
            f"machine.nodes = {machine.nodes}: the address of the first machine is not set",
            remedy="set MASTER_ADDR, MASTER_PORT and NODE_RANK on each, or start it by torchrun or srun",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=device,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy="ddp" if machine.devices * machine.nodes > 1 else "auto",
        precision=machine.precision,
    )
