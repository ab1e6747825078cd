"""From a configuration to a finished, or interrupted, training of mesoscopic relief."""

from __future__ import annotations

import torch

from mesoface.errors import InterruptedJobsError
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.interrupt import StopRequest
from mesoface.lab.training.loop import Outcome
from mesoface.lab.training.relief.config import Machine, MesoConfig
from mesoface.lab.training.relief.data import open_pools
from mesoface.lab.training.relief.loop import MesoTraining
from mesoface.lab.training.relief.recipe import make_recipe
from mesoface.lab.training.resume import locked, start_afresh
from mesoface.running.progress import progress_bars


def train_meso(config: MesoConfig, *, fresh: bool = False) -> Outcome:
    """Train, from the last checkpoint in ``config.out`` on where there is one; squares are made first.

    Args:
        config: see :mod:`mesoface.lab.training.relief.config`.
        fresh: start again from nothing; squares stay.

    Raises:
        MesofaceError: something about configuration, pairs, weights or checkpoint has to be mended, or a loss
            or a gradient is not a finite number.
        InterruptedJobsError: Ctrl-C while squares were made.
    """
    device = _device(config.machine)
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)
    with locked(config.out):
        if fresh:
            start_afresh(config.out)
        try:
            with progress_bars(remaining=True) as progress:
                pools = open_pools(config.data, config, progress)
                unseen = open_pools(config.validation.sources, config, progress)
        except KeyboardInterrupt as stop:
            raise InterruptedJobsError(
                "interrupted; the squares that were made are kept",
                path=config.cache,
                remedy="run the same command again to go on",
            ) from stop
        with StopRequest() as asked:
            torch.manual_seed(config.seed)
            return MesoTraining(config, make_recipe(config), pools, unseen, device, asked).run()


def _device(machine: Machine) -> torch.device:
    there = torch.cuda.is_available()
    if machine.device == "cuda" and not there:
        raise TrainingError(
            'machine.device = "cuda", and there is no GPU that torch can use',
            remedy='set machine.device = "auto"',
        )
    return torch.device("cuda" if there and machine.device != "cpu" else "cpu")
