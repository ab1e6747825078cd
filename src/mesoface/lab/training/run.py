"""From a configuration to a finished, or interrupted, training."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch

from mesoface.errors import MesofaceError
from mesoface.lab.training.config import Machine, RunConfig, TrainingError
from mesoface.lab.training.loop import Training, TrainingOutcome
from mesoface.lab.training.processes import Processes, StopRequest, end_helpers, lost_helper
from mesoface.lab.training.recipe import make_data, make_recipe
from mesoface.lab.training.resume import locked, start_afresh

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
