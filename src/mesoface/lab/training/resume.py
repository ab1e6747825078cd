"""The folder of a run: the checkpoint to resume from, and the files in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesoface.files.atomic import locked_folder, remove_leftovers
from mesoface.files.weights import CARD, WEIGHTS
from mesoface.lab.training.checkpoint import Checkpoint, checkpoints, load_checkpoint
from mesoface.lab.training.config import RunConfig, TrainingError, differences
from mesoface.lab.training.log import LOG, TENSORBOARD, VALIDATION_LOG
from mesoface.lab.training.validation import PICTURE

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
