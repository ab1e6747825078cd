"""Nothing half-written is left behind: write under a temporary name beside the target, then rename.

That holds for errors, a full disk and Ctrl-C alike.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mesoface.errors import MesofaceError

_LEFTOVER = re.compile(r"\..+-[0-9a-f]{12}(\.\w+)?")  # the names that _beside makes


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; it becomes ``path`` when the block ends well.

    Raises:
        MesofaceError: the target cannot be written (permissions, full disk).
    """
    path = Path(os.path.abspath(path))
    with _parents_of(path), _named_errors(path):
        temporary = _beside(path)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            temporary.replace(path)
        finally:
            with _uninterrupted():
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` when the block ends well.

    Args:
        path: the folder to make. With ``overwrite`` an old one is replaced at the very end.
        overwrite: whether a non-empty ``path`` may be replaced.

    Raises:
        MesofaceError: ``path`` is in the way, or cannot be written. Errors about files inside of the
            temporary folder name them as they would be in ``path``.
    """
    path = Path(os.path.abspath(path))  # "." has no name of its own
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not overwrite:
        raise MesofaceError("exists already", path=path, remedy="name another folder, or pass --overwrite")
    with _parents_of(path), _named_errors(path):
        temporary = _beside(path)
        try:
            temporary.mkdir()
            with _final_names(temporary, path):
                yield temporary
            with _uninterrupted():
                _put_in_place(temporary, path)
        finally:
            with _uninterrupted():
                shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else has: known before it exists, it can be removed."""
    return path.with_name(f".{path.stem}-{secrets.token_hex(6)}{path.suffix}")


def is_leftover(path: Path) -> bool:
    """Whether a writer that was killed may have left ``path``, going by its name."""
    return _LEFTOVER.fullmatch(path.name) is not None


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files and folders that writers in ``folder`` left when they were killed.

    Nobody may be writing there meanwhile.
    """
    for path in Path(folder).iterdir():
        if is_leftover(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename the folder ``temporary`` to ``path``; what was there comes back should that fail."""
    if not path.exists():
        temporary.replace(path)
        return
    # rename cannot replace a folder that holds something: move the old one aside first
    old = _beside(path)
    path.replace(old)
    try:
        temporary.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Make the folders above ``path``; those that were made go again when the block fails."""
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        with _named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with _uninterrupted():
            for parent in made:
                with suppress(OSError):  # not made yet, or somebody else put something there meanwhile
                    parent.rmdir()
        raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C has no effect on the block, which ends in milliseconds: half of it is worse than all of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _final_names(temporary: Path, path: Path) -> Iterator[None]:
    """Errors about files in ``temporary`` name them in ``path``, where people expect them."""
    try:
        yield
    except MesofaceError as error:
        if error.path is None or not Path(error.path).is_relative_to(temporary):
            raise
        final = path / Path(error.path).relative_to(temporary)
        raise type(error)(error.message, path=final, remedy=error.remedy) from error


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn the file system's errors about ``path``, and about what is beside or in it, into one line."""
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        about = Path(error.filename) if error.filename is not None else path
        if not full and about not in path.parents and not about.is_relative_to(path.parent):
            raise  # some other file: not ours to name
        reason = "the disk is full" if full else (error.strerror or str(error))
        raise MesofaceError(
            f"cannot be written: {reason}", path=path, remedy="free space or name another place"
        ) from error
