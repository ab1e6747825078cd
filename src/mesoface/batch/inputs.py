"""Which captures a batch is about: captures themselves, trees that hold some, lists of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mesoface.captures.formats import FORMATS
from mesoface.captures.formats.files import list_photos
from mesoface.captures.lists import read_capture_list
from mesoface.errors import MesofaceError

_MAX_ID = 120  # bytes; what is added to it while it is made must fit into a file name too
_RESULTS = ("run.json", "batch.json")  # what marks a folder as a result, which holds pictures too


def find_captures(inputs: Sequence[str | Path], *, out: str | Path) -> dict[str, Path]:
    """The captures that ``inputs`` name, each once, in their order.

    A capture's folder is taken as it is. Any other folder is searched, all levels: a folder that looks like a
    capture in a known format is one, and so is one that holds two photos or more without any calibration, so
    that a capture which lost its calibration is missed by nobody. A file is a list of captures, see
    :mod:`mesoface.captures.lists`; what it names is taken as a capture, whether it exists or not.

    Args:
        inputs: captures, trees, lists.
        out: the batch's folder; not searched.

    Returns:
        {id: folder}. The id is the path below the input, ``/`` written as ``-``; of captures whose ids would
        be the same it ends in some digits made of their paths.

    Raises:
        MesofaceError: an input does not exist or holds no capture, a list cannot be read, or the batch's
            folder and a capture lie in each other.
    """
    results = Path(out).resolve()
    found: dict[Path, str] = {}
    for path in map(Path, inputs):
        members = list(_members(path, results))
        if not members:
            raise MesofaceError(
                "holds no capture",
                path=path,
                remedy="name a capture, a folder with captures below it, or a list of captures",
            )
        for capture, name in members:
            found.setdefault(Path(os.path.abspath(capture)), name)
    for capture in found:
        _check_apart(results, capture)
    taken = Counter(found.values())
    return {name if taken[name] == 1 else _distinct(name, path): path for path, name in found.items()}


def _members(path: Path, results: Path) -> Iterator[tuple[Path, str]]:
    """(folder, name) of the captures of one input."""
    if path.is_file():
        for folder in read_capture_list(path):
            yield folder, _name(Path(os.path.relpath(folder, path.parent)).parts)
    elif not path.is_dir():
        raise MesofaceError("does not exist", path=path, remedy="name a capture, a folder or a list")
    elif _is_capture(path):
        yield path, _name([path.resolve().name])
    else:
        for folder in _search(path, results):
            yield folder, _name(folder.relative_to(path).parts or [path.resolve().name])


def _search(root: Path, results: Path) -> Iterator[Path]:
    """The captures below a folder, in order of their paths."""
    for at, folders, _ in os.walk(root):
        folder = Path(at)
        if folder.resolve() == results or any((folder / name).is_file() for name in _RESULTS):
            folders.clear()
        elif _is_capture(folder) or _has_photos_only(folder):
            folders.clear()
            yield folder
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _is_capture(folder: Path) -> bool:
    try:
        return any(reader.detect(folder) for reader in FORMATS.values())
    except OSError:
        return True  # it may not be looked into: the attempt at it says why


def _has_photos_only(folder: Path) -> bool:
    """Whether there are photos, and no folder beside them that could be the capture instead."""
    below = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return len(list_photos(folder)) >= 2 and not any(_is_capture(entry) for entry in below)


def _name(parts: Iterable[str]) -> str:
    """An id from the parts of a path: letters, digits and ``.+_-``, not hidden."""
    words = "-".join(part for part in parts if part not in ("..", ".", os.sep))
    name = re.sub(r"[^\w.+-]", "_", words).lstrip(".-") or "capture"
    if len(name.encode()) <= _MAX_ID:
        return name
    return _distinct(name.encode()[:_MAX_ID].decode(errors="ignore"), name)


def _distinct(name: str, path: object) -> str:
    return f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _check_apart(results: Path, capture: Path) -> None:
    if results == capture or results in capture.parents or capture in results.parents:
        raise MesofaceError(
            f"the results would be written into the capture {capture}, or over it",
            path=results,
            remedy="name a folder outside of the captures",
        )
