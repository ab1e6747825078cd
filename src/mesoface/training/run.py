"""From a configuration to a finished, or interrupted, training."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from mesoface.errors import MesofaceError
from mesoface.training.config import Machine, TrainingConfig
from mesoface.training.interrupt import StopRequest
from mesoface.training.loop import Outcome, Training
from mesoface.training.recipe import Recipe, Stage
from mesoface.training.resume import locked, start_afresh

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(config: TrainingConfig, stage: Stage, *, fresh: bool = False) -> Outcome:
    """Train, from the last checkpoint in ``config.out`` on where there is one.

    Args:
        config: see :mod:`mesoface.training.config`.
        stage: what is trained.
        fresh: start again from nothing.

    Raises:
        MesofaceError: something about configuration, data, weights or checkpoint has to be mended, or a loss
            or a gradient is not a finite number.
    """
    fabric = make_fabric(config.machine)
    fabric.launch()
    if not fabric.is_global_zero:
        return _train(config, stage, fabric)
    with locked(config.out):
        if fresh:
            start_afresh(config.out)
        return _train(config, stage, fabric)


def _train(config: TrainingConfig, stage: Stage, fabric: Fabric) -> Outcome:
    fabric.barrier()
    torch.manual_seed(config.seed)
    with StopRequest() as stop:
        return Training(config, stage, make_recipe(config, stage), fabric, stop).run()


def make_recipe(config: TrainingConfig, stage: Stage) -> Recipe:
    """The network of ``config`` with first weights, ready for ``stage``.

    Raises:
        MesofaceError: weights that it should start from do not fit.
    """
    if config.network == "paper":
        from mesoface.training.paper_recipe import paper_recipe

        return paper_recipe(config, stage)
    from mesoface.training.our_recipe import our_recipe

    return our_recipe(config, stage)


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
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    gpus = torch.cuda.device_count()
    device = ("cuda" if gpus else "cpu") if machine.device == "auto" else machine.device
    if device == "cuda" and machine.devices > gpus:
        raise MesofaceError(
            f"machine.devices = {machine.devices} GPUs were asked for, there are {gpus}",
            remedy='lower machine.devices, or set machine.device = "cpu"',
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=device,
        devices=machine.devices,
        strategy="ddp" if machine.devices > 1 else "auto",
        precision=machine.precision,
    )
