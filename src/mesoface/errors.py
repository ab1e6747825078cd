"""The one error type that users meet, and its kinds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class MesofaceError(Exception):
    """Something the user can mend. Printed as one line; ``exit_code`` is the command's.

    Args:
        message: what is wrong and what was expected.
        path: the file or folder it is about.
        remedy: what to do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, path: str | Path | None = None, remedy: str | None = None):
        self.message, self.path, self.remedy = message, path, remedy
        text = f"{path}: {message}" if path is not None else message
        # One line, whatever a file had in the names that are quoted.
        super().__init__(" ".join((f"{text} — {remedy}" if remedy else text).splitlines()))


class CaptureError(MesofaceError):
    """A capture (its folder, its calibration, its photos) cannot be used."""


class FaceModelError(MesofaceError):
    """A face model file cannot be used."""


class LandmarkError(MesofaceError):
    """No face, or not enough of it, was found."""


class ReconstructionError(MesofaceError):
    """The capture is readable but no face could be made of it."""


class IncompleteError(MesofaceError):
    """Some of many independent jobs failed; the others are done, and what they made is kept."""

    exit_code = 3


class InterruptedJobsError(MesofaceError):
    """Somebody stopped a long piece of work that can be resumed; what was finished is kept."""

    exit_code = 130
