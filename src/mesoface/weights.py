"""The networks that mesoface knows, and published checkpoints made into safetensors.

Which network a file is of shows in the names of its tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_folder
from mesoface.files.weights import (
    Card,
    Network,
    State,
    WeightsCard,
    WeightsError,
    first_line,
    listed,
    plain,
    read_card,
    read_checkpoint,
    read_weights,
)
from mesoface.matching.learned import SURFACE_MATCHER
from mesoface.matching.paper import IMPLICIT_FUNCTION, REGULARIZER
from mesoface.relief.network import MESO_GENERATOR, RELIEF_GENERATOR, width_of
from mesoface.running.process import ignored_warnings
from mesoface.running.progress import ProgressCallback, silent

NETWORKS = (SURFACE_MATCHER, IMPLICIT_FUNCTION, REGULARIZER, MESO_GENERATOR, RELIEF_GENERATOR)


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


def recognise(state: State, path: Path) -> Network:
    """The network whose names and shapes ``state`` has; ``path`` is for messages.

    Raises:
        WeightsError: there is none; the message lists what differs from the nearest.
    """
    nearest = max(NETWORKS, key=lambda network: len(network.expected(state).keys() & state.keys()))
    if not nearest.expected(state).keys() & state.keys():
        known = ", ".join(network.name for network in NETWORKS)
        raise WeightsError(f"is of an unknown network ({listed(state)}); known are {known}", path=path)
    if found := nearest.differences(state):
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
    if path.suffix == ".safetensors":
        return read_weights(path)
    with ignored_warnings():  # of torch, about protocols; what cannot be read is an error
        return read_checkpoint(path)


def _width(network: Network, state: State) -> int | None:
    """The generator's width (``ngf``); None for the other networks."""
    return width_of(state) if network is MESO_GENERATOR else None


def _learned(network: Network, state: State) -> int:
    """How many numbers of ``state`` were learned: all but the running statistics."""
    return sum(value.numel() for value in network.empty(state).parameters())


def _save(folder: Path, network: Network, state: State, source: Path) -> None:
    with source.open("rb") as checkpoint:
        digest = hashlib.file_digest(checkpoint, "sha256").hexdigest()
    card = WeightsCard(
        network=network.name,
        ngf=_width(network, state),
        parameters=_learned(network, state),
        source=source.name,
        source_sha256=digest,
    )
    file = folder / f"{network.name}.safetensors"
    try:
        safetensors.torch.save_file(plain(state), file)
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
            f"--overwrite replaces imported weights only, and this folder has {listed(others)}",
            path=out,
            remedy="name another folder",
        )
