"""The data of a batch: its options, a capture, an attempt at it, and the attempt's report.

Of all attempts at a capture, exactly one publishes its result. A machine that was given up may only have lost
its connection and finish later. Therefore an attempt works in a folder with a name of its own and, to publish
it, must still hold the capture's claim: a small file that the batch writes before each attempt. The result
takes its place by a rename, which fails where another result is.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from mesoface.config import Settings, option
from mesoface.files.atomic import atomic_file, put_in_place

Reports = Literal["all", "afresh", "none"]
"""Which results have a ``report.html``: all; those measured afresh, that is, all but the frames of a sequence
that follow another; or none."""
EngineName = Literal["local", "ray"]
CLAIMS = ".claims"
"""The folder of the claims in a batch's folder."""
_BATCH, _MACHINES = "Batch", "Machines"


class BatchOptions(BaseModel, extra="forbid", frozen=True):
    """How a batch is run; nothing here changes a measurement.

    The options of ``mesoface batch`` are made from these fields.
    """

    resume: bool = option(
        False,
        "Continue the batch in --out. Results that are complete and were made with the same settings, "
        "weights and version from the same photos are kept; all others are made again.",
        panel=_BATCH,
    )
    retries: int = option(
        1,
        "Further attempts at a capture whose process failed, died or hung, after all others. A capture that "
        "is refused because of an error in it is not tried again.",
        panel=_BATCH,
        metavar="N",
        ge=0,
        le=100,
    )
    time_limit: float | None = option(
        30.0,
        "End an attempt at a capture that takes longer.",
        panel=_BATCH,
        metavar="MINUTES",
        ge=0.01,
        le=100_000,
    )
    reports: Reports = option(
        "afresh",
        "Which results get a report.html of their own, some 8 MB that take seconds to make. afresh: all but "
        "frames of a sequence that follow another. batch.html has a picture of each.",
        panel=_BATCH,
    )
    engine: EngineName = option(
        "local",
        "local: processes of this machine. ray: the machines of a Ray cluster, which need the same mesoface "
        "with `mesoface[ray]`, and inputs and --out under the same paths on a shared file system.",
        panel=_MACHINES,
    )
    workers: int | None = option(
        None,
        "Captures at a time on this machine, fewer if memory is short. Left out: cores divided by --threads.",
        panel=_MACHINES,
        metavar="N",
        ge=1,
        le=1024,
    )
    memory_per_capture: float | None = option(
        None,
        "Memory that a capture needs, until the first one has been measured. Left out: the most that a "
        "result in --out took, or 3000.",
        panel=_MACHINES,
        metavar="MB",
        ge=1,
    )
    address: str = option(
        "auto",
        "Address of the Ray cluster; auto: the one that this machine belongs to.",
        panel=_MACHINES,
        metavar="HOST:PORT",
    )

    @property
    def limit(self) -> float | None:
        """Seconds that an attempt may take; None for any time."""
        return None if self.time_limit is None else 60 * self.time_limit


@dataclass(frozen=True)
class CaptureJob:
    """A capture of a batch and the result to be made of it.

    Args:
        id: its name, unique in the batch, and that of its result's folder.
        capture: its folder.
        out: the batch's folder; the result will be ``out / id``.
        settings: of the reconstruction.
        recipe: :func:`mesoface.batch.provenance.recipe_of` the settings, where the batch was started.
        format: name of the capture's format, or None to look at the folder.
        truth: name of the file in the capture's folder that is its true surface, or None.
        reports: which results have a ``report.html``.
    """

    id: str
    capture: Path
    out: Path
    settings: Settings
    recipe: Mapping[str, Any]
    format: str | None = None
    truth: str | None = None
    reports: Reports = "afresh"

    @property
    def result(self) -> Path:
        """Where the result will be."""
        return self.out / self.id

    @property
    def truth_path(self) -> Path | None:
        """The true surface, where there is one."""
        path = None if self.truth is None else self.capture / self.truth
        return path if path is not None and path.is_file() else None

    def has_report(self, *, followed: bool) -> bool:
        """Whether the result is to have a ``report.html``.

        Args:
            followed: whether it is of a frame that follows the one before.
        """
        return self.reports == "all" or (self.reports == "afresh" and not followed)

    @property
    def claim(self) -> Path:
        """The file with the token of the attempt that may publish the result."""
        return self.out / CLAIMS / self.id

    def release(self) -> None:
        """Nobody may publish a result of the capture any more."""
        self.claim.unlink(missing_ok=True)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a capture.

    Args:
        job: the capture.
        number: 1 for the first.
        token: a name that no other attempt has.
    """

    job: CaptureJob
    number: int = 1
    token: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def folder(self) -> Path:
        """Where it writes: beside the result, under a name that is recognised as a leftover."""
        return self.job.out / f".{self.job.id}-{self.token}"

    def claim(self) -> None:
        """Get the right to publish, and take it from all others at the same capture."""
        with atomic_file(self.job.claim) as temporary:
            temporary.write_text(self.token, encoding="ascii")

    def may_publish(self) -> bool:
        """Whether it holds the capture's claim."""
        try:
            return self.job.claim.read_text(encoding="ascii") == self.token
        except OSError:
            return False

    def publish(self) -> bool:
        """Put its folder in the result's place, if it may.

        See :func:`mesoface.files.atomic.put_in_place` for what happens to an older result.

        Returns:
            whether it was done; where not, the folder is gone.

        Raises:
            OSError: the file system refuses; an older result stays.
        """
        try:
            if not self.may_publish():
                return False
            put_in_place(self.folder, self.job.result)
            return True
        except FileExistsError:
            return False  # the result of another attempt
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Made:
    """The report of an attempt that ran to its end.

    Args:
        record: the result's ``run.json``; None if there is no result. It is sent along because on a shared
            file system other machines may see the file itself only later.
        obstacle: why there is no result, where the capture is not the cause: the disk, or the machine.
    """

    record: Mapping[str, Any] | None
    obstacle: str | None = None


def release_all(out: Path) -> None:
    """Nobody may publish anything into the batch's folder any more."""
    shutil.rmtree(out / CLAIMS, ignore_errors=True)
