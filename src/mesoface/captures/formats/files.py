"""Calibration files. Those to be read are untrusted: sizes and nesting are limited, no entity, alias or
tag is resolved, paths stay inside the capture, and every error names the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, TypeVar
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree  # type: ignore[import-untyped]
import numpy as np
import yaml
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES
from mesoface.geometry.camera import Array, Camera, Lens

MAX_BYTES = 32 * 2**20
"""Of a JSON or XML file: brackets alone, at 60 bytes each in memory, then stay below 1 GB."""
MAX_YAML_BYTES = 512 * 2**10  # one camera takes two kB; with the corners of every board, a hundred
MAX_YAML_DEPTH = 16
MAX_XML_TAGS = 600_000  # opening and closing; Metashape writes some twenty per photo
MAX_NAME, MAX_PATH = 240, 2048
"""Bytes of the longest name and path in a capture; names of 255 would leave no room for a suffix."""
MAX_SIDE = 1 << 20
"""The longest side of a photo that a file may state, pixels."""

LAYOUT = "see docs/formats.md for the layout"
"""The remedy for files that are not laid out as their format requires."""
# PyYAML's wheels all have libyaml's parser, which is twenty times as fast.
_YamlLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_FILE_STORAGE = re.compile(r"\A%YAML:[\d.]+[^\n]*\n")  # of OpenCV; YAML itself has %YAML 1.0

Layout = TypeVar("Layout", bound=BaseModel)
Item = TypeVar("Item")
Positive = Annotated[FiniteFloat, Field(gt=0)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Three = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class Lenient(BaseModel):
    """Part of a file of another program; keys that are not declared are ignored."""

    model_config = ConfigDict(extra="ignore")


@contextmanager
def refused(file: Path, remedy: str, *, about: str = "") -> Iterator[None]:
    """A context in which impossible values (ValueError, TypeError, OverflowError) become a CaptureError.

    Args:
        file: the file or folder that holds them.
        remedy: what to do about it.
        about: the part of the file, ahead of the reason, as ``"view 3: "``.
    """
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise CaptureError(f"{about}{error}", path=file, remedy=remedy) from error


def required(folder: Path, name: str) -> Path:
    """``folder / name``.

    Raises:
        CaptureError: there is no such file.
    """
    if not (folder / name).is_file():
        raise CaptureError(
            f"no {name} here", path=folder, remedy=f"name a folder that has a {name}; see docs/formats.md"
        )
    return folder / name


def only_file(files: list[Path], what: str, *, folder: Path, remedy: str) -> Path:
    """The one file in ``files``, which were found in ``folder``; ``what`` was expected.

    Raises:
        CaptureError: there is none, or more than one.
    """
    if len(files) != 1:
        found = listed([file.name for file in files]) or "none"
        raise CaptureError(f"{what} was expected, found {found}", path=folder, remedy=remedy)
    return files[0]


def inside(folder: Path, name: str, *, file: Path) -> Path:
    """``folder / name``, where ``name`` is a relative path that ``file`` holds.

    Raises:
        CaptureError: it leads out of the folder, or is not a possible file name.
    """
    path, windows = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if not path.parts or "\0" in name or path.is_absolute() or windows.drive or ".." in path.parts:
        raise CaptureError(
            f"the path {name!r} leads out of the capture's folder",
            path=file,
            remedy=f"move the file below {folder} and name it relative to that folder",
        )
    if not _is_possible(path):
        raise CaptureError(
            f"{name[:40]!r} … is not a possible file name", path=file, remedy="correct the file name"
        )
    return folder / path


def _is_possible(path: PurePosixPath) -> bool:
    """Whether a file system accepts the names in ``path``; looking up others is an error."""
    try:
        sizes = [len(part.encode()) for part in path.parts]
    except UnicodeEncodeError:  # half a character
        return False
    return max(sizes) <= MAX_NAME and sum(sizes) + len(sizes) <= MAX_PATH


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
            f"cannot be opened: {error.strerror}", path=path, remedy="check the file and its permissions"
        ) from error
    if len(data) > limit:
        raise CaptureError(
            f"is larger than {limit / 2**20:g} MB",
            path=path,
            remedy="check that it is the calibration; leave out points and tracks when exporting it",
        )
    return data


def head_of(path: Path, count: int = 8192) -> str:
    """The beginning of a file as text in whatever encoding; empty where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(count).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CaptureError: it cannot be opened, is larger than 32 MB, is not JSON, or does not hold an object.
    """
    data = read_limited(path, MAX_BYTES)
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        remedy = "write it again with the program that calibrated the cameras"
        raise CaptureError(f"is not JSON ({error})", path=path, remedy=remedy) from error
    if not isinstance(content, dict):
        what = type(content).__name__
        raise CaptureError(f"holds a JSON {what}, an object was expected", path=path, remedy=LAYOUT)
    return content


def validated(layout: type[Layout], content: object, *, file: Path) -> Layout:
    """``content``, the parsed content of ``file``, as the pydantic model ``layout``.

    Raises:
        CaptureError: it does not fit the model; names the first key that is wrong.
    """
    try:
        return layout.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CaptureError(f"{where}: {first['msg']}", path=file, remedy=LAYOUT) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; numbers remain text.

    Tags are ignored, OpenCV's ``!!opencv-matrix`` among them: only dicts, lists and strings are constructed.

    Raises:
        CaptureError: it cannot be opened, is larger than 512 kB, is not YAML, uses an alias, is nested more
            than 16 deep, or does not hold a mapping.
    """
    data = read_limited(path, MAX_YAML_BYTES)
    try:
        text = _FILE_STORAGE.sub("", data.decode("utf-8-sig"))
        _check_events(text)
        content = yaml.load(text, Loader=_YamlLoader)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        remedy = "write it again with OpenCV's FileStorage, or as plain YAML"
        raise CaptureError(f"is not readable YAML ({reason})", path=path, remedy=remedy) from error
    if not isinstance(content, dict):
        raise CaptureError("a YAML mapping of names to values was expected", path=path, remedy=LAYOUT)
    return content


def _check_events(text: str) -> None:
    """Refuse, before anything is built, YAML that is nested deeply or has references to itself."""
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it uses an alias")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise ValueError(f"it is nested more than {MAX_YAML_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def read_xml(path: Path) -> Element:
    """The root element of an XML file; names with a namespace are ``{uri}name``.

    Raises:
        CaptureError: it cannot be opened, is larger than 32 MB, is not XML, declares a document type or an
            entity, or holds more elements than any calibration does.
    """
    data = read_limited(path, MAX_BYTES)
    try:
        if data.count(b"<") > MAX_XML_TAGS:
            raise ValueError("it has more elements than a calibration has")
        return defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        reason = "declares a document type or an entity, which is refused"
    except (ParseError, ValueError, LookupError, AssertionError) as error:
        reason = f"is not XML ({error})"
    remedy = "export it again from the program that calibrated the cameras"
    raise CaptureError(reason, path=path, remedy=remedy)


def floats(text: str | None, count: int, what: str) -> Array:
    """``count`` finite numbers, separated by white space.

    Raises:
        ValueError: there are others, or none; names ``what``.
    """
    words = (text or "").split()
    if len(words) != count:
        raise ValueError(f"{what} must have {count} number{'s' * (count != 1)}, got {len(words)}")
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(f"{what} holds something that is not a number") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has numbers that are not finite")
    return values


def number(values: Mapping[str, str], key: str, default: float | None = None) -> float:
    """The finite number under ``key``; ``default`` where there is none.

    Raises:
        ValueError: it is missing and has no default, or is not a finite number.
    """
    if key not in values and default is not None:
        return default
    return float(floats(values.get(key), 1, key)[0])


def as_array(numbers: object) -> Array:
    """Numbers from a file as float64.

    Raises:
        ValueError: they are not numbers, or not in a regular grid.
    """
    try:
        return np.asarray(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("a regular grid of numbers was expected") from error


def make_camera(
    view: str, K: object, R: object, t: object, size: tuple[int, int], lens: Lens | None, *, file: Path
) -> Camera:
    """A camera from the numbers in ``file``.

    Raises:
        CaptureError: a number or a shape is wrong, see :class:`Camera`; names the file and the view.
    """
    with refused(file, f"correct the calibration of view {view}, or leave it out", about=f"view {view}: "):
        width, height = int(size[0]), int(size[1])
        if max(width, height) > MAX_SIDE:
            raise ValueError(f"image size must be {MAX_SIDE} at most")
        return Camera(as_array(K), as_array(R), as_array(t), width, height, lens)


def list_photos(folder: Path, *, deep: bool = False) -> dict[str, Path]:
    """{path relative to ``folder``, with slashes: path} of the image files there, sorted by name."""
    found = folder.rglob("*") if deep else folder.glob("*")
    photos = (path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in sorted(photos) if path.is_file()}


def list_files(folder: Path, *suffixes: str) -> list[Path]:
    """The files in ``folder`` with one of ``suffixes``, in upper or lower case, sorted by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in suffixes and path.is_file())


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


def notes_on(groups: Mapping[str, list[str]]) -> list[str]:
    """A note ``"reason: a, b, c"`` for each {reason: names} that has names."""
    return [f"{reason}: {listed(names)}" for reason, names in groups.items() if names]


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def as_texts(values: ArrayLike) -> list[str]:
    """Numbers as text that reads back to the same floats, row by row."""
    return [repr(float(value)) for value in np.ravel(values)]
