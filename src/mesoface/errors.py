"""The one error type that users meet."""

from __future__ import annotations

from pathlib import Path


class MesofaceError(Exception):
    """Something the user can mend. Printed as one line, exit code 2.

    Args:
        message: what is wrong and what was expected.
        path: the file or folder it is about.
        remedy: what to do about it.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, remedy: str | None = None):
        self.message, self.path, self.remedy = message, path, remedy
        text = f"{path}: {message}" if path is not None else message
        super().__init__(f"{text} — {remedy}" if remedy else text)


class CaptureError(MesofaceError):
    """A capture (its folder, its calibration, its photos) cannot be used."""


class FaceModelError(MesofaceError):
    """A face model file cannot be used."""


class LandmarkError(MesofaceError):
    """No face, or not enough of it, was found."""


class ReconstructionError(MesofaceError):
    """The capture is readable but no face could be made of it."""
