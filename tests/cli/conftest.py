"""Running the real command inside of the tests, and captures to break."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mesoface.cli import main

_BAR = re.compile(r"\d+/\d+ [\d:-]+( [\d:-]+)?\s*$")  # how a progress bar's line ends
FOUR = ("1", "3", "4", "6")  # views of the sample capture that go around the face


@dataclass(frozen=True)
class Ran:
    """What a run of the command left.

    Args:
        code: exit code.
        out: standard output.
        err: standard error.
        loaded: modules that it had loaded at its end, where it ran in a process of its own.
    """

    code: int
    out: str
    err: str
    loaded: frozenset[str] = frozenset()

    @property
    def said(self) -> list[str]:
        """The lines on standard error that are no progress bars."""
        return [line for line in self.err.splitlines() if line.strip() and not _BAR.search(line)]


Run = Callable[..., Ran]
_ALONE = """
import atexit, sys
from mesoface.cli import main
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
main()
"""


@pytest.fixture(scope="session")
def command() -> Run:
    """``command("reconstruct", folder, "--out", out)`` → its :class:`Ran`, in this process."""

    def run(*arguments: object) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        argv = ["mesoface", *(str(argument) for argument in arguments)]
        with (
            mock.patch.object(sys, "argv", argv),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as exit,
        ):
            main()
        return Ran(int(exit.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def command_alone() -> Run:
    """As ``command``, in a process of its own."""

    def run(*arguments: object) -> Ran:
        words = [sys.executable, "-c", _ALONE, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True)
        err, _, loaded = done.stderr.rpartition("loaded ")
        return Ran(done.returncode, done.stdout, err, frozenset(loaded.split()))

    return run


@dataclass(frozen=True)
class CaptureCopy:
    """Some views of the sample capture, to be broken.

    Args:
        folder: where it is.
    """

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def params(self) -> Path:
        """Its calibration."""
        return self.folder / "params.json"

    @property
    def views(self) -> list[str]:
        """Names of its views."""
        return sorted(path.stem for path in self.folder.glob("*.jpg"))

    def photo(self, view: str) -> Path:
        """The photo of a view."""
        return self.folder / f"{view}.jpg"

    def pixels(self, view: str) -> NDArray[np.uint8]:
        """(H, W, 3) the photo of a view, decoded."""
        return np.asarray(Image.open(self.photo(view)))

    def read(self, key: str) -> Any:
        """A number, list or flag of params.json, as ``0_K``."""
        return json.loads(self.params.read_text())[key]

    def write(self, key: str, value: Any) -> None:
        """Replace it."""
        params = json.loads(self.params.read_text())
        params[key] = value
        self.params.write_text(json.dumps(params))

    def change(self, key: str, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Replace the matrix ``key`` by what ``change`` makes of it."""
        self.write(key, change(np.array(self.read(key))).tolist())


@pytest.fixture
def copy_sample(sample_capture: Path, tmp_path: Path) -> Callable[..., CaptureCopy]:
    """``copy_sample(["0", "3"])`` → these views of the sample capture in a folder of its own."""

    def copy(views: Sequence[str] = FOUR) -> CaptureCopy:
        folder = tmp_path / "capture"
        folder.mkdir()
        for view in views:
            shutil.copy(sample_capture / f"{view}.jpg", folder)
        params = json.loads((sample_capture / "params.json").read_text())
        kept = {key: value for key, value in params.items() if key.split("_")[0] in views}
        (folder / "params.json").write_text(json.dumps(kept))
        return CaptureCopy(folder)

    return copy


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for results: what is in it afterwards is what the command left."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def reconstruct(command: Run, place: Path) -> Callable[..., tuple[dict[str, Any], Ran]]:
    """``reconstruct(capture, *options)`` → the record of the result in ``place / "face"``, and the run."""

    def run(capture: object, *options: object) -> tuple[dict[str, Any], Ran]:
        ran = command("reconstruct", capture, "--out", place / "face", *options)
        assert ran.code == 0, ran.err
        return json.loads((place / "face" / "run.json").read_text()), ran

    return run


@pytest.fixture
def refused(command: Run, place: Path) -> Callable[..., str]:
    """``refused(names, *arguments)``: the command fails as it must; its one line is returned.

    It must exit with 2, say one line that names ``names`` and a remedy, print nothing else, and leave
    ``place`` as it was.
    """

    def check(names: object, *arguments: object) -> str:
        before = sorted(place.rglob("*"))
        ran = command(*arguments)
        assert arguments[0] == "train" or sorted(place.rglob("*")) == before  # training resumes in its folder
        assert ran.code == 2, ran.err
        assert len(ran.said) == 1, ran.err
        line = ran.said[0]
        assert line.startswith("error: ")
        assert str(names) in line
        assert " — " in line, "a remedy"
        assert not ran.out
        return line

    return check
