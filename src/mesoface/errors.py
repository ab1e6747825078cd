"""The one error type that users meet, its kinds, and how a package that is missing becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
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


NATIVE_PACKAGES = {
    "cv2": "opencv-contrib-python",
    "embreex": "embreex",
    "mediapipe": "mediapipe",
    "numba": "numba",
    "OpenEXR": "OpenEXR",
    "pycolmap": "pycolmap",
    "torch": "torch",
}
"""Required modules with native code, which some platforms have no wheel for, and the package of each."""


def needs(module: str, why: str) -> ModuleType:
    """Import a module that may be missing on some platforms.

    Args:
        module: its name.
        why: what it is for: "finds the face".

    Raises:
        MesofaceError: it is not installed, or a system library that it uses is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_package(error, why) from error


def missing_package(error: ImportError, why: str = "mesoface needs it") -> MesofaceError:
    """What to tell people in place of an import error, whose module ``why`` explains."""
    module = (error.name or "a module").partition(".")[0]
    if isinstance(error, ModuleNotFoundError):
        package = NATIVE_PACKAGES.get(module, module)
        return MesofaceError(f"{module} is not installed ({why})", remedy=f"pip install {package}")
    return MesofaceError(
        f"{module} cannot be loaded ({why}): {error}",
        remedy="install the library that it names; on Debian and Ubuntu: apt install libgl1 libegl1",
    )


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors from the block that name no file name ``path``: code that is given data cannot know the file."""
    try:
        yield
    except MesofaceError as error:
        if error.path is not None:
            raise
        raise type(error)(error.message, path=path, remedy=error.remedy) from error
