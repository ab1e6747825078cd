"""The log of a training: a progress bar, two tables of comma-separated values, TensorBoard if wanted.

The tables are not Fabric's ``CSVLogger``: that one names its file itself, sorts the columns and, when a run
resumes, keeps the rows after the checkpoint.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mesoface.files.atomic import atomic_file
from mesoface.lab.training.config import TrainingError

_SPEED_OVER = 600.0  # s of the last steps from which the remaining time is estimated

LOG, VALIDATION_LOG, TENSORBOARD, PICTURE = "log.csv", "validation.csv", "tensorboard", "validation.png"
"""What there is in the run's folder."""


class Table:
    """A growing file of comma-separated values whose first column is the step.

    Args:
        path: the file. Rows of steps after ``step`` are dropped from one that is there: the run that wrote
            them was interrupted before they were kept.
        step: from which the training is resumed.
    """

    def __init__(self, path: Path, step: int):
        self._path = path
        self._columns: list[str] | None = None
        self.last: int | None = None
        """Step of the last row."""
        if path.is_file():
            self._columns, self.last = _drop_rows_after(path, step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One more row, on disk at once."""
        columns = ["step", *values]
        new = self._columns is None
        if self._columns not in (None, columns):
            raise TrainingError(
                f"has the columns {', '.join(self._columns or ())}; {', '.join(columns)} were to be added",
                path=self._path,
                remedy="move it elsewhere, or start again with --fresh",
            )
        self._columns = columns
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            if new:
                writer.writeheader()
            self.last = step
            writer.writerow({"step": step} | {name: f"{value:.6g}" for name, value in values.items()})


class Log:
    """Where the loop reports to; only the first process of several has one that writes.

    Args:
        folder: the run's.
        step: from which the training is resumed.
        total: its last step.
        tensorboard: whether TensorBoard events are written too.
        console: for the bar and the lines; stderr.

    Raises:
        TrainingError: TensorBoard is wanted and not installed.
    """

    def __init__(
        self, folder: Path, step: int, total: int, *, tensorboard: bool, console: Console | None = None
    ):
        self._training, self._validation = (Table(folder / name, step) for name in (LOG, VALIDATION_LOG))
        self._events = _tensorboard(folder / TENSORBOARD, step) if tensorboard else None
        self.console = console or Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            speed_estimate_period=_SPEED_OVER,
        )
        self._others: dict[str, TaskID] = {}
        self._task = self._bars.add_task("training", total=total, completed=step, state="")
        self._loss = self._error = ""
        if step:
            self.console.print(f"resuming at step {step} of {total}", soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar while the block runs."""
        try:
            with self._bars:
                yield
        finally:
            if self._events is not None:
                self._events.close()

    @property
    def last_validation(self) -> int | None:
        """Step of the last validation that was reported."""
        return self._validation.last

    def progress(self, label: str, done: int, total: int) -> None:
        """A bar for something else than training, which goes again when it is done."""
        if label not in self._others:
            self._others[label] = self._bars.add_task(label, total=total, state="")
        self._bars.update(self._others[label], completed=done)
        if done == total:
            self._bars.remove_task(self._others.pop(label))

    def step(self, step: int, loss: float) -> None:
        """A step is done."""
        self._loss = f"loss {loss:.4g}"
        self._show(step)

    def training(self, step: int, values: Sequence[Mapping[str, float]], seconds: float) -> None:
        """Means of the ``values`` of the steps since the last row, and the time that all steps took."""
        means = {name: sum(row[name] for row in values) / len(values) for name in values[0]}
        self._training.add(step, means | {"seconds": seconds})
        self._add_events("training", step, means | {"seconds": seconds})

    def validation(self, step: int, values: Mapping[str, float], sentence: str, short: str) -> None:
        """Figures of a validation: a row, a line with ``sentence``, and what is ``short`` in the bar."""
        self._validation.add(step, values)
        self._add_events("validation", step, values)
        self._error = short
        self._show(step)
        self.say(f"step {step}: {sentence}")

    def say(self, sentence: str) -> None:
        """A line above the bar."""
        self.console.print(sentence, soft_wrap=True)

    def _show(self, step: int) -> None:
        state = ", ".join(filter(None, (self._loss, self._error)))
        self._bars.update(self._task, completed=step, state=state)

    def _add_events(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name}", value, step)


def _drop_rows_after(path: Path, step: int) -> tuple[list[str] | None, int | None]:
    """Cut a table to the rows up to ``step``; its columns and the step of its last row, None without."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows:
        return None, None
    columns = rows[0]
    whole = (row for row in rows[1:] if len(row) == len(columns) and row[0].isdigit())
    kept = [row for row in whole if int(row[0]) <= step]
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *kept])
    return columns, int(kept[-1][0]) if kept else None


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "tensorboard is not installed", remedy="pip install tensorboard, or set tensorboard = false"
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)
