"""What a batch is made of: a capture, one attempt at it, and what that reports."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mesoface.config import Settings

Reports = Literal["all", "afresh", "none"]
"""Which results have a ``report.html``: all; those that were measured by themselves, which frames of a
sequence that follow the one before were not; or none."""


@dataclass(frozen=True)
class CaptureJob:
    """A capture of a batch and what its result shall be.

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
        """Whether the result shall have a ``report.html``.

        Args:
            followed: whether it is of a frame that follows the one before.
        """
        return self.reports == "all" or (self.reports == "afresh" and not followed)


@dataclass(frozen=True)
class Attempt:
    """One go at a capture.

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
        """Where it works: beside the result, under a name that leftovers are known by."""
        return self.job.out / f".{self.job.id}-{self.token}"


@dataclass(frozen=True)
class Made:
    """What an attempt that came to its end reports.

    Args:
        record: the result's ``run.json``, None when there is none. It travels with the report because a
            shared file system may show the file itself to other machines only later.
        obstacle: why there is none though the capture is not to blame: the disk, or the machine.
    """

    record: Mapping[str, Any] | None
    obstacle: str | None = None
