"""Published checkpoints made into safetensors, and networks loaded from those or from what was trained here.

Which network a file is of shows in the names of its tensors; names and shapes must match exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from mesoface.files.atomic import atomic_folder
from mesoface.files.checkpoints import State, WeightsError, check_file, first_line, read_checkpoint
from mesoface.errors import MesofaceError
from mesoface.matching.learned import SurfaceMatcher
from mesoface.matching.paper import ImplicitFunction, Regularizer
from mesoface.relief.generator import MesoGenerator
from mesoface.relief.network import ReliefGenerator
from mesoface.running.progress import ProgressCallback, silent
from mesoface.lab.training.card import CARD, WEIGHTS, TrainingCard

_WIDTH_FROM = "model.1.weight"  # its first dimension is the generator's width
_MAX_WIDTH = 256
_CARD_LIMIT = 1 << 16
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LISTED = 6  # names in a message at most
_LONGEST = 120  # characters of a name in a message

NetworkName = Literal[
    "surface_matcher", "implicit_function", "regularizer", "meso_generator", "relief_generator"
]


@dataclass(frozen=True)
class Network:
    """A kind of network that weights may be of.

    Args:
        name: also the name of its files.
        what: in words.
        build: from a state, of which only the generator needs something: its width.
    """

    name: NetworkName
    what: str
    build: Callable[[State], nn.Module]

    def expected(self, state: State) -> State:
        """What a state of this network is made of, at the width of ``state``: tensors without memory."""
        return self.empty(state).state_dict()

    def empty(self, state: State) -> nn.Module:
        """The network at the width of ``state``, on the ``meta`` device: shapes alone."""
        with torch.device("meta"):
            return self.build(state)


def _build_generator(state: State) -> nn.Module:
    shape = state[_WIDTH_FROM].shape if _WIDTH_FROM in state else ()
    return MesoGenerator(shape[0]) if len(shape) == 4 and 0 < shape[0] <= _MAX_WIDTH else MesoGenerator()


NETWORKS = (
    Network("surface_matcher", "the learned matcher", lambda _: SurfaceMatcher()),
    Network("implicit_function", "features and matching cost", lambda _: ImplicitFunction()),
    Network("regularizer", "3D U-Net over the matching costs", lambda _: Regularizer()),
    Network("meso_generator", "texture to mesoscopic displacement", _build_generator),
    Network("relief_generator", "texture, light and form to mesoscopic relief", lambda _: ReliefGenerator()),
)


class WeightsCard(BaseModel):
    """What is known of a file of imported weights; stands beside it as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["mesoface-weights-1"] = "mesoface-weights-1"
    network: NetworkName
    ngf: int | None = Field(description="the generator's width; null for the others")
    parameters: int = Field(description="numbers that were learned")
    source: str = Field(description="name of the checkpoint it was made from")
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")


Card = WeightsCard | TrainingCard
_CARD: TypeAdapter[Card] = TypeAdapter(Annotated[Card, Field(discriminator="format")])


@dataclass(frozen=True, eq=False)
class Description:
    """What a file of weights holds.

    Args:
        network: whose weights they are.
        ngf: the generator's width; None for the others.
        parameters: how many numbers were learned.
        state: {name: tensor}.
        card: the card beside the file, of an import or of a training; None where there is none.
    """

    network: Network
    ngf: int | None
    parameters: int
    state: State
    card: Card | None


def import_checkpoints(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> list[Path]:
    """Convert published checkpoints to ``<network>.safetensors`` with a card ``<network>.json`` each.

    Args:
        paths: checkpoints, or safetensors files, of different networks, in any order; 2 GB each at most.
        out: folder to make, all of it or nothing.
        overwrite: whether an ``out`` of an earlier import may be replaced.
        progress: told the files done.

    Returns:
        The safetensors files, in the order of ``paths``.

    Raises:
        WeightsError: a file is missing, damaged, holds code, is of an unknown network, of the same network as
            another, or has other names or shapes than its network.
        MesofaceError: ``out`` is in the way or cannot be written.
    """
    out = Path(out)
    if overwrite:
        _check_replaceable(out)
    imported: dict[str, Path] = {}
    progress("checkpoints", 0, len(paths))
    with atomic_folder(out, overwrite=overwrite) as folder:
        for done, path in enumerate(map(Path, paths)):
            state = _read(path)
            network = recognise(state, path)
            if network.name in imported:
                raise WeightsError(
                    f"is of the {network.name}, as {imported[network.name]} is",
                    path=path,
                    remedy="name one checkpoint of each network",
                )
            imported[network.name] = path
            _save(folder, network, state, path)
            progress("checkpoints", done + 1, len(paths))
    return [out / f"{name}.safetensors" for name in imported]


def load_network(path: str | Path, name: NetworkName) -> nn.Module:
    """A network with its weights, in eval mode, on the CPU.

    Args:
        path: a safetensors file.
        name: the network it must be of.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    path = Path(path)
    state = read_weights(path)
    network = recognise(state, path)
    if network.name != name:
        raise WeightsError(f"is of the {network.name}, the {name} was expected", path=path)
    module = network.empty(state)
    module.load_state_dict(_plain(state), strict=True, assign=True)
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


def recognise(state: State, path: Path) -> Network:
    """The network whose names and shapes ``state`` has; ``path`` is for messages.

    Raises:
        WeightsError: there is none; the message lists what differs from the nearest.
    """
    nearest = max(NETWORKS, key=lambda network: len(network.expected(state).keys() & state.keys()))
    expected = nearest.expected(state)
    common = [name for name in expected if name in state]
    if not common:
        known = ", ".join(network.name for network in NETWORKS)
        raise WeightsError(f"is of an unknown network ({_listed(state)}); known are {known}", path=path)
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
    found = "; ".join(f"{what}: {_listed(names)}" for what, names in differences.items() if names)
    if found:
        raise WeightsError(f"does not match the {nearest.name}: {found}", path=path)
    return nearest


def describe(path: str | Path) -> Description:
    """What a safetensors file or a checkpoint holds.

    Raises:
        WeightsError: the file is missing, damaged or of an unknown network, or its card is of another one.
    """
    path = Path(path)
    state = _read(path)
    network = recognise(state, path)
    card = read_card(path) if path.suffix == ".safetensors" else None
    about = Description(network, _width(network, state), _learned(network, state), state, card)
    if card is not None:
        ngf = card.ngf if isinstance(card, WeightsCard) else about.ngf  # a training's does not have it
        if (card.network, ngf) != (network.name, about.ngf):
            raise WeightsError(
                f"is of the {network.name} (ngf {about.ngf}), its card of the {card.network} (ngf {ngf})",
                path=path,
                remedy="use a file and the card that was made with it",
            )
    return about


def _read(path: Path) -> State:
    """{name: tensor} of a safetensors file or of a checkpoint."""
    return read_weights(path) if path.suffix == ".safetensors" else read_checkpoint(path)


def _width(network: Network, state: State) -> int | None:
    """The generator's width (``ngf``); None for the other networks."""
    return int(state[_WIDTH_FROM].shape[0]) if network.name == "meso_generator" else None


def _learned(network: Network, state: State) -> int:
    """How many numbers of ``state`` were learned: all but the running statistics."""
    return sum(value.numel() for value in network.empty(state).parameters())


def _save(folder: Path, network: Network, state: State, source: Path) -> None:
    card = WeightsCard(
        network=network.name,
        ngf=_width(network, state),
        parameters=_learned(network, state),
        source=source.name,
        source_sha256=_sha256(source),
    )
    file = folder / f"{network.name}.safetensors"
    try:
        safetensors.torch.save_file(_plain(state), file)
    except SafetensorError as error:
        raise MesofaceError(
            f"cannot be written ({first_line(error)})", path=file, remedy="free space or name another place"
        ) from None
    file.chmod(0o644)  # as every other file of ours; the library's are the owner's alone
    file.with_suffix(".json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _check_replaceable(out: Path) -> None:
    """Refuse to replace a folder that holds anything but weights and their cards."""
    ours = {f"{network.name}{suffix}" for network in NETWORKS for suffix in (".safetensors", ".json")}
    if out.exists() and not out.is_dir():
        raise MesofaceError("is a file", path=out, remedy="name a folder")
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in ours) if out.is_dir() else []
    if others:
        raise MesofaceError(
            f"--overwrite replaces imported weights only, and this folder has {_listed(others)}",
            path=out,
            remedy="name another folder",
        )


def _is_sound(value: Tensor, expected: Tensor) -> bool:
    """Whether ``value`` has finite numbers of the expected kind, with memory behind each of them."""
    kinds = _FLOATS if expected.is_floating_point() else (expected.dtype,)
    if value.layout != torch.strided or value.dtype not in kinds:
        return False
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return False  # a few numbers that claim to be many
    return bool(torch.isfinite(value.float()).all())  # as they will be stored


def _plain(state: State) -> State:
    """``state`` in float32, each tensor with memory of its own, as safetensors asks for."""
    return {
        name: (value.float() if value.is_floating_point() else value).clone().contiguous()
        for name, value in state.items()
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(names: Iterable[str]) -> str:
    names = [name if name.isprintable() else ascii(name) for name in names]  # the file's own words
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name[:_LONGEST] for name in names[:_LISTED]) + more
