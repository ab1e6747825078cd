"""Nothing half-written is left behind: write under a temporary name beside the target, then rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesoface.errors import MesofaceError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; it becomes ``path`` when the block ends well.

    Raises:
        MesofaceError: the target cannot be written (permissions, full disk).
    """
    path = Path(path)
    with _named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` when the block ends well.

    Args:
        path: the folder to make. With ``overwrite`` an old one is replaced at the very end.
        overwrite: whether a non-empty ``path`` may be replaced.

    Raises:
        MesofaceError: ``path`` is in the way, or cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not overwrite:
        raise MesofaceError("exists already", path=path, remedy="name another folder, or pass --overwrite")
    with _named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                # rename cannot replace a folder that holds something: move the old one aside first
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
                path.replace(old / path.name)
                try:
                    temporary.replace(path)
                except OSError:
                    (old / path.name).replace(path)
                    raise
                finally:
                    shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(error.filename).parent not in (path, path.parent):
            inside = str(error.filename).startswith(str(path.parent))
            if not inside and error.errno != 28:
                raise  # about some other file: not ours to name
        reason = "the disk is full" if error.errno == 28 else (error.strerror or str(error))
        raise MesofaceError(f"cannot be written: {reason}", path=path, remedy="free space or name another place") from error
