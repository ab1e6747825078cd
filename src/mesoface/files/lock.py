"""A folder that one process at a time works in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesoface.errors import MesofaceError

LOCK = ".lock"
"""The file that is locked on Windows, where a folder itself cannot be."""


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
