"""Lists of captures: a text file, one path a line, relative to the file; ``#`` begins a comment."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file

_COMMENT = re.compile(r"(^|\s)#.*")
_MAX_BYTES = 16 << 20  # 100,000 captures with long paths


def read_capture_list(path: str | Path) -> list[Path]:
    """The captures' folders that a list names, in its order; whether they exist is not looked at.

    Raises:
        MesofaceError: the list cannot be read, is no text, names nothing, or names a folder twice.
    """
    path = Path(path)
    remedy = "write one capture's folder a line, relative to the list"
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
            "is no text, a list of captures was expected", path=path, remedy=remedy
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
    """Write a list of captures' folders, named relative to the list.

    Args:
        path: the list.
        captures: folders.
        comment: what the list is, for people; its first line.

    Raises:
        MesofaceError: the list cannot be written.
    """
    path = Path(path)
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [Path(os.path.relpath(folder, path.parent)).as_posix() for folder in captures]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
