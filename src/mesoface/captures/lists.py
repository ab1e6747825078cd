"""Which captures an input names: a capture, a tree that holds some, or a list of them.

A list is a text file with one path a line, relative to the list; ``#`` begins a comment.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mesoface.captures.formats import FORMATS
from mesoface.captures.formats.files import list_photos
from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file

_COMMENT = re.compile(r"(^|\s)#.*")
_MAX_BYTES = 16 << 20  # 100,000 captures with long paths
_MAX_ID = 120  # bytes; suffixes added while a result is made must still fit into a file name
_RESULTS = ("run.json", "batch.json")  # mark a folder as a result, which holds pictures too


def read_capture_list(path: str | Path) -> list[Path]:
    """The folders that a list names, in its order; they need not exist.

    Raises:
        MesofaceError: the list cannot be read, is not text, names nothing, or names a folder twice.
    """
    path = Path(path)
    remedy = "write one capture folder per line, relative to the list"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MesofaceError(
                f"is larger than {_MAX_BYTES >> 20} MB, a list of captures was expected",
                path=path,
                remedy=remedy,
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MesofaceError(f"cannot be read: {error.strerror}", path=path, remedy=remedy) from error
    except ValueError as error:
        raise MesofaceError(
            "is not text, a list of captures was expected", path=path, remedy=remedy
        ) from error
    names = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    folders = [path.parent / name for name in names if name]
    if not folders:
        raise MesofaceError("names no capture", path=path, remedy=remedy)
    folder, count = Counter(folders).most_common(1)[0]
    if count > 1:
        raise MesofaceError(f"names {folder} {count} times", path=path, remedy="remove all lines but one")
    return folders


def write_capture_list(path: str | Path, captures: Sequence[Path], *, comment: str = "") -> None:
    """Write a list of captures; their paths are written relative to the list.

    Args:
        path: the list.
        captures: folders.
        comment: a description for readers; the first lines.

    Raises:
        MesofaceError: the list cannot be written.
    """
    path = Path(path)
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [Path(os.path.relpath(folder, path.parent)).as_posix() for folder in captures]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def find_captures(inputs: Sequence[str | Path], *, out: str | Path) -> dict[str, Path]:
    """The captures that ``inputs`` name, each once, in their order.

    A capture's folder is taken as it is. Any other folder is searched at all levels. There, a capture is a
    folder in a known format, or one with at least two photos and no calibration: a capture that lost its
    calibration is reported later instead of being skipped. A file is read as a list of captures, whether
    these exist or not.

    Args:
        inputs: captures, trees, lists.
        out: the folder of the results; not searched.

    Returns:
        {id: folder}. The id is the path below the input, with ``-`` for ``/``; ids that would be equal end in
        a hash of their paths.

    Raises:
        MesofaceError: an input does not exist or holds no capture, a list cannot be read, or ``out`` and a
            capture contain each other.
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
        if results.is_relative_to(capture) or capture.is_relative_to(results):
            raise MesofaceError(
                f"the results would be written into the capture {capture}, or over it",
                path=results,
                remedy="name a folder outside of the captures",
            )
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
        for folder in search_captures(path, _may_be_capture, skip=lambda folder: _is_result(folder, results)):
            yield folder, _name(folder.relative_to(path).parts or [path.resolve().name])


def search_captures(
    root: Path,
    is_capture: Callable[[Path], bool],
    *,
    skip: Callable[[Path], bool] = lambda folder: False,
    deepest: int | None = None,
) -> Iterator[Path]:
    """The captures in a tree, in the order of their paths; hidden folders are not searched.

    Args:
        root: a folder; it may be a capture itself.
        is_capture: whether a folder is a capture. Captures are not searched further.
        skip: whether a folder is left out, with all that it holds.
        deepest: the number of levels below ``root`` that are searched, links to folders included; None: all
            levels, but no links, which may lead in a circle.
    """
    for at, folders, _ in os.walk(root, followlinks=deepest is not None):
        folder = Path(at)
        if skip(folder):
            folders.clear()
        elif is_capture(folder):
            folders.clear()
            yield folder
        elif deepest is not None and len(folder.relative_to(root).parts) >= deepest:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _is_result(folder: Path, results: Path) -> bool:
    return folder.resolve() == results or any((folder / name).is_file() for name in _RESULTS)


def _is_capture(folder: Path) -> bool:
    try:
        return any(reader.detect(folder) for reader in FORMATS.values())
    except OSError:
        return True  # without permission to look into it: reading it reports why


def _may_be_capture(folder: Path) -> bool:
    """Whether a folder is a capture, or holds photos and no folder that could be the capture instead."""
    if _is_capture(folder):
        return True
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
