"""Files and folders that appear whole or not at all, after errors, a full disk, Ctrl-C and SIGKILL alike.

Everything is written under a hidden name beside its target and then renamed. Hidden names: ``.NAME-HEX`` is
unfinished work; ``.NAME~HEX`` is a folder that was renamed to make room for a newer one. A folder can be
locked against other processes, and checked before any work is done.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mesoface.errors import MesofaceError

_LEFTOVER = re.compile(r"\..+[-~][0-9a-f]{12}(\.\w+)?")
_ASIDE = re.compile(r"\.(.+)~[0-9a-f]{12}")
LOCK = ".lock"
"""The file that is locked on Windows, where a folder itself cannot be."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; it becomes ``path`` when the block ends well.

    Raises:
        MesofaceError: the target cannot be written (permissions, full disk).
    """
    path = Path(os.path.abspath(path))
    with _target(path):
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
    for aside in path.parent.glob(f".{glob.escape(path.name)}~*"):
        _settle(aside)
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not overwrite:
        raise MesofaceError("exists already", path=path, remedy="name another folder, or pass --overwrite")
    with _target(path):
        temporary = _beside(path)
        try:
            temporary.mkdir()
            with _final_names(temporary, path):
                yield temporary
            put_in_place(temporary, path)
        finally:
            with _uninterrupted():
                _erase(temporary)


def put_in_place(made: Path, path: Path) -> None:
    """Rename the finished folder ``made`` to ``path``, in the same parent folder, and remove what was there.

    A rename cannot replace a folder that is not empty, so the older folder is renamed to a hidden name first.
    Where the process is killed before the second rename, :func:`remove_leftovers` and :func:`atomic_folder`
    restore the older folder. ``path`` is never an incomplete folder.

    Raises:
        FileExistsError: another process has put something there in the meantime, which stays.
        OSError: the file system refuses; the older folder is in its place again.
    """
    aside = path.with_name(f".{path.name}~{secrets.token_hex(6)}")
    with _uninterrupted():
        with suppress(FileNotFoundError):
            path.replace(aside)
        try:
            made.replace(path)
        except OSError as error:
            if not path.exists():
                with suppress(FileNotFoundError):
                    aside.replace(path)
                raise
            _erase_aside(aside)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        _erase_aside(aside)


def is_leftover(path: Path) -> bool:
    """Whether a writer that was killed may have left ``path``, going by its name."""
    return _LEFTOVER.fullmatch(path.name) is not None


def remove_leftovers(folder: str | Path) -> None:
    """Clean up after writers in ``folder`` that were killed; no writer may be active in it.

    Unfinished files and folders are removed. A folder that was to be replaced, but whose successor did not
    get its name, gets its name back.
    """
    for path in list(Path(folder).iterdir()):
        if _ASIDE.fullmatch(path.name):
            _settle(path)
        elif is_leftover(path):
            _erase(path)


def _beside(path: Path) -> Path:
    """A unique hidden name beside ``path``. It is known before the file exists, so that it can be removed."""
    return path.with_name(f".{path.stem}-{secrets.token_hex(6)}{path.suffix}")


def _settle(aside: Path) -> None:
    """Restore a folder that was set aside; where its name is taken by now, remove it."""
    match = _ASIDE.fullmatch(aside.name)
    if match is None:
        return
    path = aside.parent / match[1]
    if path.exists():
        _erase_aside(aside)
    else:
        aside.replace(path)


def _erase_aside(aside: Path) -> None:
    """Remove a folder that was set aside, if it exists, under a name from which it is never restored."""
    unfinished = _beside(aside)
    with suppress(OSError):
        aside.replace(unfinished)
        _erase(unfinished)


def _erase(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _target(path: Path) -> Iterator[None]:
    """Make the folders above ``path``, and name ``path`` in errors; after one, folders made here go again."""
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        with _named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield
    except BaseException:
        with _uninterrupted():
            for parent in made:
                with suppress(OSError):  # not made yet, or no longer empty
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


@contextmanager
def locked_folder(
    path: str | Path, *, doing: str = "filling this folder", error: type[MesofaceError] = MesofaceError
) -> Iterator[Path]:
    """Lock a folder, which is made where it does not exist, against other processes of this machine.

    The lock ends with the block or with the process, however that ends.

    Args:
        path: the folder.
        doing: what another process that has the lock is doing, for the error.
        error: the type to raise.

    Raises:
        MesofaceError: of the type ``error``; another process has the lock, or the folder cannot be used.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = _open(path)
    except OSError as reason:
        raise error(
            f"cannot be used as a folder: {reason.strerror}", path=path, remedy="name another place"
        ) from reason
    try:
        if not _lock(handle):
            raise error(
                f"another process is {doing}", path=path, remedy="wait for it, or name another folder"
            )
        yield path
    finally:
        os.close(handle)  # this releases the lock


if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _open(folder: Path) -> int:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def check_output_folder(
    out: Path, *, record: str, overwrite: bool, other: str, source: Path | None = None, inside: str = ""
) -> None:
    """Refuse a bad ``--out``.

    Args:
        out: the folder to make.
        record: the file by which an older folder of the same kind is known.
        overwrite: whether that may be replaced.
        other: message about a folder that holds something and has no ``record``.
        source: the folder that is read; ``out`` may not be in it, nor the other way round.
        inside: message about an ``out`` that is.

    Raises:
        MesofaceError: ``out`` is or lies inside of ``source``, exists already, is a file, or cannot be made.
    """
    if source is not None:
        inner, outer = out.resolve(), source.resolve()
        if inner == outer or outer in inner.parents or inner in outer.parents:
            raise MesofaceError(inside, path=out, remedy="name a folder outside of it")
    if out.exists() and not out.is_dir():
        raise MesofaceError("is a file", path=out, remedy="name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise MesofaceError("exists already", path=out, remedy="name another folder, or pass --overwrite")
        if not (out / record).is_file():
            raise MesofaceError(other, path=out, remedy="name another folder")
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        what = "may not be written into" if above.is_dir() else "is a file"
        raise MesofaceError(
            f"the result cannot be put there: {above} {what}", path=out, remedy="name another place"
        )
