"""The folder of a run, and the state of a training in it: safetensors, and a JSON header with the step.

What a step does depends on the seed and its number alone, so that a step, the network and the optimiser's
moments are all there is to keep. Nothing is pickled.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mesoface.files.atomic import atomic_file, locked_folder, remove_leftovers
from mesoface.files.weights import CARD, WEIGHTS, WeightsError, check_file, first_line
from mesoface.lab.training.config import RunConfig, TrainingError, differences
from mesoface.lab.training.log import LOG, PICTURE, TENSORBOARD, VALIDATION_LOG

KEPT = 2
"""How many checkpoints are kept: the last one, and one more should the disk have damaged it."""

_NETWORK, _OPTIMIZER, _AVERAGE = "network/", "optimizer/", "average/"


class Header(BaseModel):
    """What a checkpoint holds beside its tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = "mesoface-training-1"
    stage: str
    step: int
    seconds: float
    config: dict[str, Any]
    data: tuple[str, ...] | None = None
    """What each source held; None in checkpoints of versions that did not note it."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read.

    Args:
        path: the file.
        header: step, time spent and configuration.
        tensors: of the network and of the optimiser, on the CPU.
    """

    path: Path
    header: Header
    tensors: dict[str, Tensor]

    @property
    def average(self) -> dict[str, Tensor]:
        """Averages of the trained parameters; empty where none were kept."""
        return _under(_AVERAGE, self.tensors)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put its state into a network and its optimiser.

        Raises:
            TrainingError: they do not belong together.
        """
        load_state(network, _under(_NETWORK, self.tensors), self.path)
        trained = trained_parameters(network)
        moments: dict[str, dict[str, Tensor]] = {}
        for name, value in _under(_OPTIMIZER, self.tensors).items():
            parameter, _, key = name.rpartition("/")
            moments.setdefault(parameter, {})[key] = value
        if not moments.keys() <= trained.keys():  # one that no loss has reached yet has none
            raise TrainingError("is of a training of other parameters", path=self.path)
        state = optimizer.state_dict()
        state["state"] = {n: moments[name] for n, name in enumerate(trained) if name in moments}
        optimizer.load_state_dict(state)


def save_checkpoint(
    folder: Path,
    header: Header,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> Path:
    """Write a checkpoint; older ones than the last two go.

    Args:
        folder: of the checkpoints.
        header: see :class:`Header`.
        network: all of its state.
        optimizer: of the trained parameters, in the network's order.
        average: of the trained parameters; empty where none is kept.
    """
    tensors = {_NETWORK + name: value for name, value in network.state_dict().items()}
    state = optimizer.state_dict()["state"]
    for n, name in enumerate(trained_parameters(network)):
        tensors |= {f"{_OPTIMIZER}{name}/{key}": value for key, value in state.get(n, {}).items()}
    tensors |= {_AVERAGE + name: value for name, value in average.items()}
    path = folder / f"step-{header.step:08d}.safetensors"
    save_tensors(path, tensors, {"header": header.model_dump_json()})
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(
        path for path in folder.glob("step-*.safetensors") if re.fullmatch(r"step-\d{8}", path.stem)
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        WeightsError: it is damaged or none of ours.
    """
    check_file(path)
    try:
        with safe_open(path, "pt") as file:
            header = Header.model_validate_json((file.metadata() or {})["header"])
            return Checkpoint(path, header, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, ValidationError, KeyError, OSError) as error:
        raise WeightsError(
            f"is not a complete checkpoint of a training ({first_line(error)})",
            path=path,
            remedy="delete it to resume from the one before, or start again with --fresh",
        ) from None


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors, on whatever device, as safetensors: all of the file or nothing."""
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    save_safetensors(path, lambda temporary: safetensors.torch.save_file(plain, temporary, metadata))


def save_safetensors(path: str | Path, save: Callable[[Path], None]) -> None:
    """Write a safetensors file by ``save``: all of it or nothing.

    Raises:
        TrainingError: it cannot be written.
    """
    with atomic_file(path) as temporary:
        try:
            save(temporary)
        except SafetensorError as error:
            raise TrainingError(
                f"cannot be written ({first_line(error)})",
                path=path,
                remedy="free space or name another place",
            ) from None
        temporary.chmod(0o644)  # as every other file of ours; the library's are the owner's alone


def load_weights(network: nn.Module, path: Path | None) -> None:
    """Start a network from a safetensors file, if there is one; names and shapes must be its own.

    Raises:
        WeightsError: the file is missing or damaged.
        TrainingError: it is of another network.
    """
    if path is None:
        return
    check_file(path)
    try:
        state = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"is not a whole safetensors file ({first_line(error)})", path=path) from None
    load_state(network, state, path)


def load_state(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """``network.load_state_dict``, strictly, with what differs in a message about ``path``."""
    expected = network.state_dict()
    different = [
        *(f"{name} is missing" for name in expected.keys() - state.keys()),
        *(f"{name} is not of it" for name in state.keys() - expected.keys()),
        *(
            f"{name} is {tuple(state[name].shape)} where {tuple(expected[name].shape)} was expected"
            for name in expected.keys() & state.keys()
            if state[name].shape != expected[name].shape
        ),
        *(f"{name} has values that are not finite" for name in state if not state[name].isfinite().all()),
    ]
    if different:
        listed = "; ".join(sorted(different)[:4]) + (" …" if len(different) > 4 else "")
        raise TrainingError(f"does not fit the network to train: {listed}", path=path)
    network.load_state_dict(state)


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """{name: parameter} of the trained ones, in the order in which the optimiser numbers them."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


CHECKPOINTS = "checkpoints"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes of this machine from training in ``out``, and clean up after one that was killed.

    Raises:
        TrainingError: another process is training in it, or the folder cannot be used.
    """
    with locked_folder(out, doing="training in it", error=TrainingError):
        for folder in (out, out / CHECKPOINTS):
            if folder.is_dir():
                remove_leftovers(folder)
        yield


def bad_batch(rank: int) -> str:
    """Name of the file with the tiles that process ``rank`` had when a number was not finite."""
    return f"bad_batch-{rank}.npz" if rank else "bad_batch.npz"


def start_afresh(out: Path) -> None:
    """Remove what an earlier run left in ``out``, and nothing else."""
    for folder in (CHECKPOINTS, TENSORBOARD):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in (LOG, VALIDATION_LOG, PICTURE, WEIGHTS, CARD):
        (out / name).unlink(missing_ok=True)
    for path in out.glob("bad_batch*.npz"):
        path.unlink()


def last_checkpoint(config: RunConfig, data: tuple[str, ...]) -> Checkpoint | None:
    """The checkpoint from which the run in ``config.out`` is resumed; None where there is none yet.

    Args:
        config: of the run.
        data: what the sources hold now; see ``TrainingData.contents``. With others sample k is another one.

    Raises:
        MesofaceError: the checkpoint is damaged, or of a run with another configuration, and what differs.
    """
    found = checkpoints(config.out / CHECKPOINTS)
    if not found:
        return None
    last = load_checkpoint(found[-1])
    if last.header.stage != config.stage:
        _refuse(config.out, f"holds a training of the {last.header.stage}, not of the {config.stage}")
    changed = differences(last.header.config, config)
    if changed:
        _refuse(config.out, f"holds a training with another configuration: {'; '.join(changed)}")
    for number, (before, now) in enumerate(zip(last.header.data or data, data, strict=True)):
        if before != now:
            _refuse(config.out, f"holds a training on other data: data.{number} had {before}, has {now}")
    if last.header.step > config.steps:
        _refuse(
            config.out, f"holds a training that is at step {last.header.step} already, past {config.steps}"
        )
    return last


def _refuse(out: Path, why: str) -> None:
    raise TrainingError(why, path=out, remedy="change it back, name another out, or start again with --fresh")
