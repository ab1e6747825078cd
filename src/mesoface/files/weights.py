"""A network's weights as safetensors, checked against the module that they are for.

No network is defined here: the caller passes a :class:`Network`. Names and shapes must match exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mesoface.files.cards import read_card
from mesoface.files.checkpoints import State, WeightsError, check_file, first_line

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LISTED = 6  # names in a message at most
_LONGEST = 120  # characters of a name in a message


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
