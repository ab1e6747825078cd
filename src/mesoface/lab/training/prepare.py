"""Shards of tiles from many captures: what training streams from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

import mesoface
from mesoface.captures.formats import facescape
from mesoface.captures.lists import read_capture_list, search_captures
from mesoface.captures.load import load_capture
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.meshes import read_mesh
from mesoface.lab.training.captures import TILES_PER_LEVEL, capture_tiles
from mesoface.lab.training.tile import write_tiles
from mesoface.lab.training.truth import TruthError
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import read_manifest, resumable_folder, run_all

MANIFEST = "tiles.json"
_RECIPE = 2  # to be raised whenever the same capture makes other tiles
_DEEPEST = 3  # folders below the one that is named in which captures are looked for


@dataclass(frozen=True)
class TilesJob:
    """The tiles of one capture.

    Args:
        capture: its folder.
        shard: the file to write.
        truth: the mesh of its true surface.
        scale: millimetres per unit of its world; None where the capture states it.
        seed: of the choice of tiles.
        size: side of a tile, texels.
        per_level: see :func:`mesoface.lab.training.captures.capture_tiles`.
    """

    capture: Path
    shard: Path
    truth: Path
    scale: float | None
    seed: int
    size: int
    per_level: Mapping[int, int]


def prepare_tiles(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    workers: int = 1,
    truth_name: str | None = None,
    scale: float | None = None,
    seed: int = 0,
    size: int = 64,
    per_level: Mapping[int, int] = TILES_PER_LEVEL,
    progress: ProgressCallback = silent,
) -> Path:
    """Cut tiles from every capture below ``folders`` and write them to ``out``, one shard a capture.

    A shard depends on its capture, its name and the arguments alone. Shards that are there are kept, so the
    work can be interrupted, and captures added.

    Args:
        folders: captures in FaceScape's layout, folders that hold such, or lists of captures.
        out: folder for the shards.
        workers: processes at a time.
        truth_name: file in each capture's folder that holds the true surface; None: ``gt.ply`` in it, else
            ``<its name>.ply`` beside it.
        scale: millimetres per unit of the captures' worlds, the truth's included; None: what each
            ``params.json``, else ``truth.json`` states.
        seed: of the choice of tiles.
        size: side of a tile, texels.
        per_level: tiles of each level; see :func:`mesoface.lab.training.captures.capture_tiles`.
        progress: called after every capture.

    Returns:
        ``out``.

    Raises:
        MesofaceError: there is no capture, or no tile could be made of any; ``out`` holds other things.
        IncompleteError: some captures could not be used; the error gives the reasons. The others were.
    """
    jobs = [
        TilesJob(
            folder, Path(out) / f"{name}.npz", _truth_of(folder, truth_name), scale, seed, size, per_level
        )
        for name, folder in name_captures(folders).items()
    ]
    recipe = {
        "format": "mesoface tiles",
        "recipe": _RECIPE,
        "mesoface": mesoface.__version__,
        "seed": seed,
        "size": size,
        "per_level": {str(side): count for side, count in sorted(per_level.items())},
    }
    with resumable_folder(out, MANIFEST, recipe) as shards:
        missing = [job for job in jobs if not job.shard.exists()]
        try:
            run_all(
                write_capture_tiles,
                missing,
                path=shards,
                name_of=lambda job: job.capture.name,
                kind="captures",
                workers=workers,
                done_before=len(jobs) - len(missing),
                preload=["torch", "mesoface.lab.training.captures"],
                progress=progress,
            )
        except IncompleteError as error:
            if any(job.shard.exists() for job in jobs):
                raise
            raise MesofaceError(error.message, path=shards, remedy=error.remedy) from error
    return Path(out)


def name_captures(folders: Sequence[str | Path]) -> dict[str, Path]:
    """{name for a shard: folder} of all captures in FaceScape's layout in ``folders``, sorted.

    Args:
        folders: captures, folders that hold such, or lists of captures
            (:func:`mesoface.captures.lists.read_capture_list`).

    Raises:
        MesofaceError: a folder holds none, or a list names a folder that is none.
    """
    found: dict[str, Path] = {}
    for root in map(Path, folders):
        for name, capture in (_listed_captures(root) if root.is_file() else _captures_below(root)).items():
            if found.setdefault(name, capture) != capture:
                raise MesofaceError(
                    f"two captures would be named {name}", path=capture, remedy="rename one of the folders"
                )
    return found


def _captures_below(root: Path) -> dict[str, Path]:
    """Captures at most :data:`_DEEPEST` folders below ``root``, or itself, named after their folders."""
    captures = sorted(search_captures(root, facescape.detect, deepest=_DEEPEST))
    if not captures:
        raise MesofaceError(
            "no capture in FaceScape's layout here (no params.json)",
            path=root,
            remedy="make some with `mesoface synth-dataset`, or name their folder",
        )
    return {"-".join((root.resolve().name, *path.relative_to(root).parts)): path for path in captures}


def _listed_captures(file: Path) -> dict[str, Path]:
    """Captures of a list, named after it and after their paths: those stay when the list grows."""
    captures = [Path(os.path.normpath(folder)) for folder in read_capture_list(file)]
    if lacking := [capture for capture in captures if not facescape.detect(capture)]:
        raise MesofaceError(
            f"{lacking[0]} is no capture in FaceScape's layout (no params.json)",
            path=file,
            remedy="correct the line, or remove it",
        )
    names = dict[str, Path]()
    for capture in captures:
        below = Path(os.path.relpath(capture, file.parent)).parts
        name = "-".join((file.stem, *(part for part in below if part != "..")))
        if name in names:
            raise MesofaceError(
                f"two captures would be named {name}", path=file, remedy="rename one of the folders"
            )
        names[name] = capture
    return names


def _truth_of(folder: Path, name: str | None) -> Path:
    """Where a capture's truth is; whether it is there is found out when it is read."""
    if name is not None:
        return folder / Path(name).name
    beside = folder.parent / f"{folder.resolve().name}.ply"
    return beside if beside.is_file() and not (folder / "gt.ply").exists() else folder / "gt.ply"


def write_capture_tiles(job: TilesJob) -> int:
    """Make the tiles of one capture; their number."""
    capture, truth = load_capture(job.capture), read_mesh(job.truth)
    scale = job.scale or capture.mm_per_unit or _stated_scale(job.capture)
    rng = np.random.default_rng([job.seed, crc32(job.shard.stem.encode())])
    capture = capture.in_millimetres(scale)
    truth = truth.with_vertices(truth.vertices * scale)
    tiles = capture_tiles(capture, truth, rng, size=job.size, per_level=job.per_level)
    if not tiles:
        raise TruthError("no part of the face has a known truth", path=job.capture)
    write_tiles(job.shard, tiles)
    return len(tiles)


def _stated_scale(folder: Path) -> float:
    """Millimetres per unit as a capture's ``truth.json`` has it.

    Raises:
        MesofaceError: it does not state it.
    """
    file = folder / "truth.json"
    scale = read_manifest(file).get("mm_per_unit") if file.is_file() else None
    if not isinstance(scale, int | float) or not 0 < scale < np.inf:
        raise MesofaceError(
            "does not state how many millimetres a unit of its world is", path=folder, remedy="pass --scale"
        )
    return float(scale)
