"""A network's weights: PyTorch checkpoints, safetensors checked against their network, the card beside them.

A checkpoint is a pickle, which is a program. ``torch.load(weights_only=True)`` interprets the part that makes
tensors and refuses the rest; here its refusals, and damage of every kind, become one line. No network is
defined here: the caller passes a :class:`Network`. Names and shapes must match exactly.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from mesoface.errors import MesofaceError

SIZE_LIMIT = 2 << 30
"""Bytes of a file at most; the largest published checkpoint has 0.7 GB."""

State = dict[str, Tensor]
WEIGHTS, CARD = "weights.safetensors", "card.json"
"""The names that training gives its files; others are ``<network>.safetensors`` and ``<network>.json``."""
_CARD_LIMIT = 1 << 16
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LISTED = 6  # names in a message at most
_LONGEST = 120  # characters of a name in a message


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
        raise _damaged("is not a PyTorch checkpoint", path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(error, path) from None
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise _damaged(f"is truncated or damaged ({first_line(error)})", path) from None
    if isinstance(content, dict):
        content = content.get("model_state_dict", content)
    if not (isinstance(content, dict) and content and all(isinstance(v, Tensor) for v in content.values())):
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


def _damaged(what: str, path: Path) -> WeightsError:
    return WeightsError(what, path=path, remedy="download the file again")


def _check_archive(path: Path) -> None:
    """Raise unless a zipped checkpoint is complete and, unpacked, no larger than a file may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise _damaged("is truncated or damaged", path) from None
    if unpacked > SIZE_LIMIT:
        raise WeightsError(
            f"has {unpacked >> 20} MB unpacked, at most {SIZE_LIMIT >> 20} are read", path=path
        )


def _refusal(error: pickle.UnpicklingError, path: Path) -> WeightsError:
    """The error for what ``weights_only`` refused."""
    called = re.search(r"GLOBAL ([\w.]+)", str(error))
    if called is None:
        return _damaged("is not a checkpoint of tensors, or is damaged", path)
    return WeightsError(
        f"holds code or objects ({called[1]}) beside tensors; it is refused and nothing of it was run",
        path=path,
        remedy="save the state dict alone: torch.save(network.state_dict(), path)",
    )


def first_line(error: Exception) -> str:
    """What went wrong, short enough for a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


class WeightsCard(BaseModel, extra="forbid", frozen=True):
    """The origin of a file of imported weights; stored beside it as JSON."""

    format: Literal["mesoface-weights-1"] = "mesoface-weights-1"
    network: str
    ngf: int | None = Field(description="the generator's width; null for the others")
    parameters: int = Field(description="number of trained values")
    source: str = Field(description="name of the checkpoint it was made from")
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")


class TrainingCard(BaseModel, extra="forbid", frozen=True):
    """How weights were trained; stored beside them as JSON."""

    format: Literal["mesoface-trained-1"] = "mesoface-trained-1"
    network: str
    stage: Literal["matching", "regularizer", "meso"]
    parameters: int
    data: tuple[str, ...]
    config: dict[str, Any]
    command: str
    seed: int
    steps: int
    hours: float
    machine: str
    mesoface: str
    torch: str
    figures: dict[str, float]


Card = WeightsCard | TrainingCard
_CARD: TypeAdapter[Card] = TypeAdapter(Annotated[Card, Field(discriminator="format")])


def read_card(path: str | Path) -> Card | None:
    """The card beside a safetensors file; None where there is none.

    Raises:
        WeightsError: the card is not one.
    """
    path = Path(path)
    card = path.with_name(CARD) if path.name == WEIGHTS else path.with_suffix(".json")
    if not card.is_file():
        return None
    try:
        if card.stat().st_size > _CARD_LIMIT:
            raise ValueError("too long")
        return _CARD.validate_json(card.read_bytes())
    except (ValidationError, ValueError) as error:
        raise WeightsError(f"is not a card of weights ({first_line(error)})", path=card) from None


@dataclass(frozen=True)
class Network:
    """A kind of network, to check weights against.

    Args:
        name: also the name of its files.
        what: in words.
        build: makes the module for a state; only the generator reads something from it, its width.
    """

    name: str
    what: str
    build: Callable[[State], nn.Module]

    def differences(self, state: State) -> str:
        """How ``state`` differs from a state of this network, in words; empty where it does not."""
        expected = self.expected(state)
        common = [name for name in expected if name in state]
        differences = {
            "missing": [name for name in expected if name not in state],
            "not of it": [name for name in state if name not in expected],
            "of another shape": [
                f"{name} {tuple(state[name].shape)} where {tuple(expected[name].shape)} was expected"
                for name in common
                if state[name].shape != expected[name].shape
            ],
            "not finite numbers": [name for name in common if not _is_sound(state[name], expected[name])],
        }
        return "; ".join(f"{what}: {listed(names)}" for what, names in differences.items() if names)

    def expected(self, state: State) -> State:
        """The state that this network expects, at the width of ``state``: tensors without memory."""
        return self.empty(state).state_dict()

    def empty(self, state: State) -> nn.Module:
        """The network at the width of ``state``, on the ``meta`` device: shapes alone."""
        with torch.device("meta"):
            return self.build(state)


def load_network(path: str | Path, network: Network, *, others: Iterable[Network] = ()) -> nn.Module:
    """A network with its weights, in eval mode, on the CPU.

    Args:
        path: a safetensors file.
        network: the one it must be of.
        others: networks that it may be mistaken for; the message then names the one it is of.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    path = Path(path)
    state = read_weights(path)
    if found := network.differences(state):
        card = read_card(path)
        known = next((other.name for other in others if not other.differences(state)), card and card.network)
        if known not in (None, network.name):
            raise WeightsError(f"is of the {known}, the {network.name} was expected", path=path)
        raise WeightsError(f"does not match the {network.name}: {found}", path=path)
    module = network.empty(state)
    module.load_state_dict(plain(state), strict=True, assign=True)
    return module.train(False)


def read_weights(path: str | Path) -> State:
    """{name: tensor} of a safetensors file.

    Raises:
        WeightsError: missing, too large, or damaged.
    """
    path = Path(path)
    check_file(path)
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"is not a whole safetensors file ({first_line(error)})",
            path=path,
            remedy="make it again with `mesoface weights import`",
        ) from None


def _is_sound(value: Tensor, expected: Tensor) -> bool:
    """Whether ``value`` has finite numbers of the expected kind, with memory behind each of them."""
    kinds = _FLOATS if expected.is_floating_point() else (expected.dtype,)
    if value.layout != torch.strided or value.dtype not in kinds:
        return False
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return False  # a tensor expanded from fewer numbers
    return bool(torch.isfinite(value.float()).all())  # as they will be stored


def plain(state: State) -> State:
    """``state`` in float32, each tensor with memory of its own, as safetensors requires."""
    return {
        name: (value.float() if value.is_floating_point() else value).clone().contiguous()
        for name, value in state.items()
    }


def listed(names: Iterable[str]) -> str:
    """Names from a file, which is untrusted, for a message: few, short and printable."""
    names = [name if name.isprintable() else ascii(name) for name in names]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name[:_LONGEST] for name in names[:_LISTED]) + more
