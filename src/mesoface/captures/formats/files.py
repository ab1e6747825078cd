"""What the formats' readers share: paths inside the capture, JSON of a bounded size, photo lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES
from mesoface.geometry.camera import Camera
from mesoface.geometry.lens import Array, Lens

MAX_JSON_BYTES = (
    32 * 2**20
)  # small enough that brackets alone, at some 60 bytes each in memory, stay below 1 GB

MAX_NAME, MAX_PATH = 240, 2048
"""The longest name and path that a file of a capture has, bytes; names of 255 leave no room for a suffix."""
MAX_SIDE = 1 << 20
"""The longest side that a photo is said to have, pixels."""

Layout = TypeVar("Layout", bound=BaseModel)
Item = TypeVar("Item")


def inside(folder: Path, name: str, *, said_by: Path) -> Path:
    """``folder / name``, where ``name`` is a relative path that a file of the capture gives.

    Raises:
        CaptureError: it leads out of the folder, or no file can be called so. ``said_by`` is the file that
            the error names.
    """
    relative, windows = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if (
        not relative.parts
        or "\0" in name
        or relative.is_absolute()
        or windows.drive
        or ".." in relative.parts
    ):
        raise CaptureError(
            f"the path {name!r} leads out of the capture's folder",
            path=said_by,
            remedy=f"move the file below {folder} and name it relative to that folder",
        )
    if not _may_be_called(relative):
        raise CaptureError(
            f"no file can be called {name[:40]!r} …", path=said_by, remedy="name the file as it is called"
        )
    return folder / relative


def _may_be_called(path: PurePosixPath) -> bool:
    """Whether a file system takes the names in ``path``; asking it about others is an error."""
    try:
        return len(path.as_posix().encode()) < MAX_PATH and all(
            len(p.encode()) <= MAX_NAME for p in path.parts
        )
    except UnicodeEncodeError:  # half a character
        return False


def read_limited(path: Path, limit: int) -> bytes:
    """A file's content.

    Raises:
        CaptureError: it cannot be opened, or is larger than ``limit`` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CaptureError(
            f"cannot be opened: {error.strerror}", path=path, remedy="check the file and who may read it"
        ) from error
    if len(data) > limit:
        raise CaptureError(
            f"is larger than {limit / 2**20:g} MB",
            path=path,
            remedy="check that it is the calibration; leave points and tracks out when you export it",
        )
    return data


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CaptureError: it cannot be opened, is larger than 32 MB, is not JSON, or holds something else than
            an object.
    """
    data = read_limited(path, MAX_JSON_BYTES)
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CaptureError(
            f"is not JSON ({error})",
            path=path,
            remedy="write it again with the tool that calibrated the cameras",
        ) from error
    if not isinstance(content, dict):
        raise CaptureError(
            f"holds a JSON {type(content).__name__}, an object was expected",
            path=path,
            remedy="see docs/formats.md for the layout",
        )
    return content


def validated(layout: type[Layout], content: object, *, said_by: Path) -> Layout:
    """``content``, parsed already, as the pydantic model ``layout``.

    Raises:
        CaptureError: it is not laid out so; names the first key that is wrong.
    """
    try:
        return layout.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CaptureError(
            f"{where}: {first['msg']}", path=said_by, remedy="see docs/formats.md for the layout"
        ) from error


def list_photos(folder: Path, *, deep: bool = False) -> dict[str, Path]:
    """{path relative to ``folder``, with slashes: path} of the image files there, sorted by name."""
    found = folder.rglob("*") if deep else folder.glob("*")
    photos = (path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in sorted(photos) if path.is_file()}


def list_files(folder: Path, suffix: str) -> list[Path]:
    """The files in ``folder`` with a suffix, in whatever case, sorted by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() == suffix and path.is_file())


def head_of(path: Path, count: int = 8192) -> str:
    """The beginning of a file as text, whatever its encoding; nothing where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(count).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def make_camera(
    view: str, K: object, R: object, t: object, size: tuple[int, int], lens: Lens | None, *, said_by: Path
) -> Camera:
    """A camera from numbers that a file gives, whose errors name the file and the view.

    Raises:
        CaptureError: a number or a shape is wrong; see :class:`Camera`.
    """
    try:
        width, height = int(size[0]), int(size[1])
        if max(width, height) > MAX_SIDE:
            raise ValueError(f"image size must be {MAX_SIDE} at most")
        return Camera(as_array(K), as_array(R), as_array(t), width, height, lens)
    except (ValueError, TypeError, OverflowError) as error:
        raise CaptureError(
            f"view {view}: {error}",
            path=said_by,
            remedy=f"correct the calibration of view {view}, or leave it out",
        ) from error


def as_array(numbers: object) -> Array:
    """Numbers from a file as float64.

    Raises:
        ValueError: they are not numbers, or not in a regular grid.
    """
    try:
        return np.asarray(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("a regular grid of numbers was expected") from error


def unique_names(paths: list[str]) -> list[str]:
    """Short names for relative paths: the stems where these differ, else the paths themselves."""
    stems = [PurePosixPath(path).stem for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)


def parted(items: Iterable[Item], keep: Callable[[Item], bool]) -> tuple[list[Item], list[Item]]:
    """The items that are kept, and the others, each in their order."""
    kept: list[Item] = []
    others: list[Item] = []
    for item in items:
        (kept if keep(item) else others).append(item)
    return kept, others


def listed(names: list[str], limit: int = 8) -> str:
    """``a, b, c`` for a sentence, cut after ``limit`` names."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
