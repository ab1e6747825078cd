"""What a result was made from, written beside it, and whether it is still current.

``made_from.json`` has the settings, the version, the weights and other files that the settings name, and the
capture: its calibration as it was read, and every photo by size, time and SHA-256. A photo is read again only
if its size or time differ, so checking thousands of results takes seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

import mesoface
from mesoface.batch.job import CaptureJob
from mesoface.captures.capture import CaptureSource
from mesoface.captures.formats import read_source
from mesoface.config import COMPUTING, Settings
from mesoface.errors import MesofaceError
from mesoface.face_models.loading import ict_path
from mesoface.results.files import FORMAT, REPORT, read_record

NAME = "made_from.json"


class FileState(BaseModel, extra="forbid", frozen=True):
    """A file as it was.

    Args:
        bytes: its size.
        modified: time of its last change, nanoseconds.
        sha256: of its content.
    """

    bytes: int
    modified: int
    sha256: str


class MadeFrom(BaseModel, extra="forbid", frozen=True):
    """What ``made_from.json`` holds.

    Args:
        recipe: :func:`recipe_of` the settings.
        calibration: SHA-256 of the capture's cameras as they were read.
        inputs: photos, masks and true surface, by path relative to the capture.
        results: names of the result's files.
    """

    recipe: dict[str, Any]
    calibration: str
    inputs: dict[str, FileState]
    results: list[str]


def recipe_of(settings: Settings) -> dict[str, Any]:
    """What determines a result besides its capture: version, settings, content of the files that they name.

    Settings of the machine (device, threads, memory) are left out.

    Raises:
        MesofaceError: a file that the settings name cannot be read.
    """
    named = named_files(settings)
    shipped = Path(str(files("mesoface") / "assets"))
    return {
        "mesoface": mesoface.__version__,
        "layout": FORMAT,
        "settings": settings.model_dump(mode="json", exclude=COMPUTING | named.keys()),
        "files": {name: _sha256_of_tree(path) for name, path in {"shipped": shipped, **named}.items()},
    }


def named_files(settings: Settings) -> dict[str, Path]:
    """The settings that name a file or a folder, whose content counts.

    Raises:
        MesofaceError: the settings name the ICT model, which is not there.
    """
    named = {name: value for name, value in settings if isinstance(value, Path)}
    if settings.face_model == "ict":
        named["face_model"] = ict_path()
    elif settings.face_model != "generic":
        named["face_model"] = Path(settings.face_model)
    return named


@dataclass(frozen=True, eq=False)
class CaptureInput:
    """The parts of a capture that a result depends on.

    Args:
        calibration: SHA-256 of the cameras.
        files: {path relative to the capture: path} of photos, masks and the true surface.
    """

    calibration: str
    files: Mapping[str, Path]


def capture_input(capture: Path, format: str | None, truth: Path | None = None) -> CaptureInput:
    """The parts of the capture in a folder that a result depends on; no photo is opened.

    Raises:
        CaptureError: the calibration cannot be used.
    """
    source = read_source(capture, format)
    paths = [path for view in source.views for path in (view.image_path, view.mask_path) if path is not None]
    if truth is not None:
        paths.append(truth)
    return CaptureInput(_sha256_of_cameras(source), {_relative(path, capture): path for path in paths})


def write_made_from(result: Path, recipe: Mapping[str, Any], made_of: CaptureInput) -> None:
    """Write ``made_from.json`` into a finished result.

    Raises:
        OSError: a photo can no longer be read, or the file cannot be written.
    """
    states = {name: _state(path) for name, path in sorted(made_of.files.items())}
    results = sorted([path.name for path in result.iterdir()] + [NAME])
    made = MadeFrom(recipe=dict(recipe), calibration=made_of.calibration, inputs=states, results=results)
    (result / NAME).write_text(json.dumps(made.model_dump(), indent=1) + "\n", encoding="utf-8")


def is_current(job: CaptureJob, *, followed: bool = False) -> bool:
    """Whether the capture's result is there, complete, and made with the same recipe from the same capture.

    A result that cannot be read, or whose capture cannot, is not current: a new attempt reports the reason.
    Nor is a result that lacks the report it is to have; a report too many does not matter.

    Args:
        job: the capture.
        followed: whether it is a frame that follows the one before.
    """
    try:
        made = MadeFrom.model_validate_json((job.result / NAME).read_bytes())
        read_record(job.result)
        if made.recipe != json.loads(json.dumps(job.recipe)):
            return False
        if not all((job.result / name).is_file() for name in made.results):
            return False
        if job.has_report(followed=followed) and REPORT not in made.results:
            return False
        now = capture_input(job.capture, job.format, job.truth_path)
        return (
            made.calibration == now.calibration
            and made.inputs.keys() == now.files.keys()
            and all(_is_same(state, now.files[name]) for name, state in made.inputs.items())
        )
    except (OSError, ValidationError, MesofaceError):
        return False


def _is_same(before: FileState, path: Path) -> bool:
    stat = path.stat()
    if stat.st_size != before.bytes:
        return False
    return stat.st_mtime_ns == before.modified or _sha256([path]) == before.sha256


def _state(path: Path) -> FileState:
    stat = path.stat()
    return FileState(bytes=stat.st_size, modified=stat.st_mtime_ns, sha256=_sha256([path]))


def _relative(path: Path, capture: Path) -> str:
    return path.relative_to(capture).as_posix() if path.is_relative_to(capture) else str(path)


def _sha256_of_cameras(source: CaptureSource) -> str:
    """Of names, cameras and scale, bit for bit."""
    digest = hashlib.sha256(json.dumps([source.format, source.mm_per_unit]).encode())
    for view in source.views:
        camera = view.camera
        digest.update(json.dumps([view.name, camera.width, camera.height, repr(camera.lens)]).encode())
        for numbers in (camera.K, camera.R, camera.t):
            digest.update(np.ascontiguousarray(numbers, np.float64).tobytes())
    return digest.hexdigest()


def _sha256_of_tree(path: Path) -> str:
    """Of a file, or of all files in a folder with their names."""
    members = sorted(member for member in path.rglob("*") if member.is_file()) if path.is_dir() else [path]
    try:
        return _sha256(member for member in members if "__pycache__" not in member.parts)
    except OSError as error:
        raise MesofaceError(
            f"cannot be read: {error.strerror}", path=error.filename, remedy="check who may read it"
        ) from error


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
