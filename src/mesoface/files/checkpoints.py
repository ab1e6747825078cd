"""PyTorch checkpoints, read without running code that they may contain.

A pickle is a program. ``torch.load(weights_only=True)`` interprets the part that makes tensors and refuses
the rest; here its refusals, and damage of every kind, become one line.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from mesoface.errors import MesofaceError

SIZE_LIMIT = 2 << 30
"""Bytes of a file at most; the largest published checkpoint has 0.7 GB."""

State = dict[str, Tensor]


class WeightsError(MesofaceError):
    """A file with a network's weights cannot be used."""


def read_checkpoint(path: str | Path) -> State:
    """{name: tensor} of a PyTorch checkpoint, bare or under ``model_state_dict``; on the CPU.

    Raises:
        WeightsError: missing, too large, damaged, not a checkpoint, or a pickle with code in it.
    """
    path = Path(path)
    start = check_file(path)
    if start.startswith(b"PK"):
        _check_archive(path)
    elif not start.startswith(b"\x80"):
        raise WeightsError("is not a PyTorch checkpoint", path=path, remedy="download the file again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(error, path) from None
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise WeightsError(
            f"is truncated or damaged ({first_line(error)})", path=path, remedy="download the file again"
        ) from None
    if isinstance(content, dict):
        content = content.get("model_state_dict", content)
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise WeightsError(
            "holds no state dict: {name: tensor}, bare or under 'model_state_dict', was expected", path=path
        )
    return {str(name): tensor for name, tensor in content.items()}


def check_file(path: Path) -> bytes:
    """The first bytes of a file, after checking that it exists and is not too large."""
    if not path.is_file():
        raise WeightsError("no such file", path=path)
    size = path.stat().st_size
    if size > SIZE_LIMIT:
        raise WeightsError(f"has {size >> 20} MB, at most {SIZE_LIMIT >> 20} are read", path=path)
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", path=path) from None


def _check_archive(path: Path) -> None:
    """Raise unless a zipped checkpoint is complete and, unpacked, no larger than a file may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise WeightsError("is truncated or damaged", path=path, remedy="download the file again") from None
    if unpacked > SIZE_LIMIT:
        raise WeightsError(
            f"has {unpacked >> 20} MB unpacked, at most {SIZE_LIMIT >> 20} are read", path=path
        )


def _refusal(error: pickle.UnpicklingError, path: Path) -> WeightsError:
    """The error for what ``weights_only`` refused."""
    called = re.search(r"GLOBAL ([\w.]+)", str(error))
    if called is None:
        return WeightsError(
            "is not a checkpoint of tensors, or is damaged", path=path, remedy="download the file again"
        )
    return WeightsError(
        f"holds code or objects ({called[1]}) beside tensors; it is refused and nothing of it was run",
        path=path,
        remedy="save the state dict alone: torch.save(network.state_dict(), path)",
    )


def first_line(error: Exception) -> str:
    """What went wrong, short enough for a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
