"""Arrays from untrusted ``.npz`` and ``.npy`` files: sizes and types are checked before allocation."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mesoface.errors import FaceModelError

LIMIT = 4 << 30
"""Bytes a single array may take. FaceScape's full bilinear core is 0.8 GB."""

_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError)


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray]:
    """Arrays of an ``.npz`` file by name.

    Args:
        path: the file.
        names: read only these (the ones that are there); None reads all that hold plain data.

    Raises:
        FaceModelError: not an ``.npz`` file, truncated, too large; or one of ``names`` holds Python objects.
    """
    wanted = None if names is None else set(names)
    arrays: dict[str, NDArray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or (wanted is not None and name not in wanted):
                    continue
                with archive.open(member) as file:
                    shape, _, dtype = _header(file)
                    if dtype.hasobject and wanted is None:
                        continue
                    _check(path, name, shape, dtype, member.file_size)
                with archive.open(member) as file:
                    arrays[name] = npy.read_array(file, allow_pickle=False)
    except _DAMAGE as error:
        raise _unreadable(path, ".npz", error) from error
    return arrays


def npz_names(path: Path) -> set[str]:
    """Names of the arrays in an ``.npz`` file; no array is read.

    Raises:
        FaceModelError: not an ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, ".npz", error) from error


def read_npy(path: Path) -> NDArray:
    """The array of an ``.npy`` file, memory-mapped read-only.

    Raises:
        FaceModelError: not an ``.npy`` file, truncated, or an array of Python objects.
    """
    try:
        with path.open("rb") as file:
            shape, _, dtype = _header(file)
            _check(path, path.stem, shape, dtype, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, ".npy", error) from error


def object_payload(path: Path) -> bytes | None:
    """The pickle inside an ``.npy`` file of Python objects, unread; None when it holds plain numbers."""
    with path.open("rb") as file:
        try:
            _, _, dtype = _header(file)
        except ValueError as error:
            raise _unreadable(path, ".npy", error) from error
        return file.read(LIMIT) if dtype.hasobject else None


def require(path: Path, arrays: dict[str, NDArray], **shapes: tuple[int | None, ...]) -> None:
    """Check that ``arrays`` has each name with the shape given (None: any length) and finite numbers.

    Raises:
        FaceModelError: naming the first array that is absent, of another shape or not finite.
    """
    for name, shape in shapes.items():
        expected = "(" + ", ".join("*" if n is None else str(n) for n in shape) + ")"
        if name not in arrays:
            raise _unpublished(path, f"has no array '{name}' {expected}")
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise _unpublished(path, f"array '{name}' has the shape {array.shape}, expected {expected}")
        if array.dtype.kind not in "fiub":
            raise _unpublished(path, f"array '{name}' holds {array.dtype}, expected numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _unpublished(path, f"array '{name}' has numbers that are not finite")


def require_indices(path: Path, name: str, indices: NDArray, count: int, lowest: int = 0) -> None:
    """Check that all ``indices`` lie in [lowest, count).

    Raises:
        FaceModelError: one does not, or they are not whole numbers.
    """
    whole = indices.dtype.kind in "iu"
    if not whole or (indices.size and (int(indices.min()) < lowest or int(indices.max()) >= count)):
        raise _unpublished(path, f"'{name}' must hold whole numbers from {lowest} to {count - 1}")


def _unpublished(path: Path, what: str) -> FaceModelError:
    return FaceModelError(what, path=path, remedy="use the file as published")


def _unreadable(path: Path, kind: str, error: Exception) -> FaceModelError:
    return FaceModelError(
        f"is not a readable {kind} file ({error})", path=path, remedy="copy or download it again"
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of an .npy stream, which is left at the first byte of the data."""
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"npy version {version} is not supported")


def _check(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, stored: int) -> None:
    if dtype.hasobject:
        raise FaceModelError(
            f"array '{name}' holds Python objects, which are never unpickled",
            path=path,
            remedy="save it as numbers: numpy.savez(path, name=numpy.asarray(value, float))",
        )
    size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize if shape else dtype.itemsize
    if size > LIMIT:
        raise FaceModelError(
            f"array '{name}' would take {size / 2**30:.0f} GB",
            path=path,
            remedy="this is not a face model file",
        )
    if size > stored:
        raise FaceModelError(f"array '{name}' is truncated", path=path, remedy="copy or download it again")
