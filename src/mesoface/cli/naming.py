"""Errors of code that is handed data, and cannot know the file, get the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesoface.errors import MesofaceError


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors from the block that name no file name ``path``."""
    try:
        yield
    except MesofaceError as error:
        if error.path is not None:
            raise
        raise type(error)(error.message, path=path, remedy=error.remedy) from error
