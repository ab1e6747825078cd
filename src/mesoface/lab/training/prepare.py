"""Shards of tiles from captures whose true surface is known, cut from the inputs of the cascade's levels.

Rough parts of the surface are cut more often than smooth ones.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.captures.capture import Capture, View
from mesoface.captures.formats import facescape
from mesoface.captures.lists import read_capture_list, search_captures
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.lab.training.tile import Tile, make_tile, write_tiles
from mesoface.lab.training.truth import TrueSurface, TruthError, check_truth
from mesoface.matching.cascade import match
from mesoface.matching.classical import ClassicalMatcher
from mesoface.matching.learned.matcher import LearnedMatcher
from mesoface.matching.matcher import Level, LevelInput, levels_for
from mesoface.pipeline import reconstruct
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import read_manifest, resumable_folder, run_all
from mesoface.uvd.space import UVDSpace, build_uvd_space
from mesoface.uvd.visibility import SEEN

# Texels of a square whose truth is known, at least.
_LEAST_KNOWN = 0.4
# Chance of a flat square against one whose surface is tilted by a right angle to its base all over.
_FLAT = 0.08
# Chance that is left to a square which overlaps one that was chosen before.
_AGAIN = 0.05


def choose_squares(
    tilt: NDArray[np.float32], size: int, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw squares of a map, rather where the surface is rough than on a cheek, and rather side by side.

    Args:
        tilt: (H, W) angle of the true surface to its base, radians; NaN where the truth is not known.
        size: side of a square, texels of ``tilt``.
        count: of squares, at most: fewer where less is known.
        rng: of the choice.

    Returns:
        (row, column) of each square's first texel.
    """
    known = np.isfinite(tilt)
    share = _corner_means(known.astype(np.float32), size)
    chance = _FLAT + _corner_means(np.where(known, tilt, 0), size) / (np.pi / 2)
    chance[share < _LEAST_KNOWN] = 0
    squares: list[tuple[int, int]] = []
    while len(squares) < count and chance.any():
        pick = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
        row, column = divmod(pick, chance.shape[1])
        squares.append((row, column))
        half = size // 2
        chance[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] *= _AGAIN
    return squares


def _corner_means(values: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """(H - size + 1, W - size + 1) mean of the square that begins at each texel."""
    total = cv2.integral(values.astype(np.float64))
    box = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    return np.maximum(box, 0) / size**2


TILES_PER_LEVEL: Mapping[int, int] = {128: 1, 256: 2, 512: 12, 768: 16, 1024: 8}
"""Side of a level's UV maps → tiles that are cut from each of its passes: most where the network measures."""

_ALL_VIEWS = 120
# All levels finer than this start from what it measured.
_LAST_SIZE = 512
# Truth is looked for beyond the reach, too: there the network should have no confidence.
_BEYOND = 3.0
# Squares are chosen on a map of about so many texels a side.
_OVERVIEW = 160
# Steps and reaches of a level are varied by up to this factor, so that the network learns no single number.
_STRETCH = 1.25


class _Enough(Exception):
    pass


def capture_tiles(
    capture: Capture,
    truth: Mesh,
    rng: np.random.Generator,
    *,
    size: int = 64,
    per_level: Mapping[int, int] = TILES_PER_LEVEL,
) -> list[Tile]:
    """Run the classical cascade on a capture, and cut tiles from what each of its levels starts from.

    So the base surfaces, normals, visibilities and corrected cameras are the ones that matching meets, with
    their errors. The truth of each texel is found by casting rays onto ``truth``. Levels finer than 512² all
    start from what 512² measured.

    Args:
        capture: photos with cameras in millimetres (``in_millimetres``).
        truth: the true surface in the cameras' world, mm, wound outward.
        rng: of the choice of squares and of the steps.
        size: side of a tile, texels.
        per_level: side of a level's maps → tiles of each pass over it; levels that are not named have none.
            Where photos are too coarse for a level, the finest one that they suffice for has its tiles.

    Returns:
        the tiles, coarse levels first; two or more views see each.

    Raises:
        TruthError: the truth is not what the photos show.
        MesofaceError: the capture cannot be reconstructed.
    """
    check_truth(capture, truth)
    face = reconstruct(capture, Settings(until="base", scale=1.0, views=_ALL_VIEWS, threads=1))
    check_truth(face.capture, truth, face.landmarks3d)
    facial = face.fit.model.topology.facial

    def build_space(side: int) -> UVDSpace:
        return build_uvd_space(face.fit.mesh, facial, side)

    surface = TrueSurface(truth, face.capture.cameras)
    remaining = _levels_by_pass(face.capture.views, build_space(256), per_level)
    counts = _with_those_of_finer_levels(per_level, remaining)
    tiles: list[Tile] = []
    if not remaining:
        return tiles

    def cut(start: LevelInput) -> None:
        for level in remaining.pop(0):
            tiles.extend(_cut_tiles(_resized(start, level), surface, rng, size, counts[level.size]))
        if not remaining:
            raise _Enough

    with suppress(_Enough):
        match(
            build_space,
            face.capture.views,
            ClassicalMatcher(threads=1),
            preset="best",
            occluder=face.fit.mesh.select_faces(~facial),
            on_level=cut,
        )
    return tiles


def _levels_by_pass(views: Sequence[View], space: UVDSpace, wanted: Collection[int]) -> list[list[Level]]:
    """For which levels tiles are cut at each pass of the classical cascade, up to the last that has any.

    Up to 512² the learned matcher's passes are the classical one's; its finer ones start from there.
    """
    presets = (ClassicalMatcher.presets, LearnedMatcher.presets)
    classical, learned = (levels_for(levels, "best", views, space) for levels in presets)
    passes: list[list[Level]] = [[level] for level in classical if level.size <= _LAST_SIZE]
    passes.append([level for level in learned if level.size > _LAST_SIZE])
    passes = [[level for level in levels if level.size in wanted] for levels in passes]
    while passes and not passes[-1]:
        passes.pop()
    return passes


def _with_those_of_finer_levels(
    per_level: Mapping[int, int], passes: Sequence[Sequence[Level]]
) -> dict[int, int]:
    """Numbers of tiles: the finest level of the passes also has those of levels too fine for the photos."""
    counts = dict(per_level)
    finest = max((level.size for levels in passes for level in levels), default=0)
    if finest >= _LAST_SIZE:
        counts[finest] = sum(count for side, count in counts.items() if side >= finest)
    return counts


def _resized(start: LevelInput, level: Level) -> LevelInput:
    """The same start with the maps and steps of another level."""
    if level.size == start.level.size:
        return replace(start, level=level)
    size = (level.size, level.size)
    visibility = np.stack([cv2.resize(v, size) for v in start.visibility])
    return replace(start, level=level, space=start.space.resized(level.size), visibility=visibility)


def _cut_tiles(
    start: LevelInput, surface: TrueSurface, rng: np.random.Generator, size: int, count: int
) -> list[Tile]:
    """At most ``count`` tiles of ``size`` texels a side from one level's start."""
    stride = max(1, start.level.size // _OVERVIEW)
    overview = slice(None, None, stride)
    tilt = surface.along(_square(start.space, overview, overview), _BEYOND * start.level.reach_mm).tilt
    tilt[(start.visibility[:, overview, overview] > SEEN).sum(0) < 2] = np.nan
    tiles = []
    for corner in choose_squares(tilt, max(1, size // stride), count, rng):
        row, column = (min(stride * at, start.level.size - size) for at in corner)
        rows, columns = slice(row, row + size), slice(column, column + size)
        step = start.level.step_mm * _STRETCH ** rng.uniform(-1, 1)
        reach = step * round(start.level.reach_mm / start.level.step_mm)
        space = _square(start.space, rows, columns)
        truth = surface.along(space, _BEYOND * reach).displacement
        visibility = start.visibility[:, rows, columns]
        if np.isfinite(truth).any() and (visibility > SEEN).any((1, 2)).sum() >= 2:
            tiles.append(make_tile(space, start.views, visibility, truth, step_mm=step, reach_mm=reach))
    return tiles


def _square(space: UVDSpace, rows: slice, columns: slice) -> UVDSpace:
    return UVDSpace(space.position[rows, columns], space.normal[rows, columns], space.valid[rows, columns])


MANIFEST = "tiles.json"
_RECIPE = 3  # to be raised whenever the same capture makes other tiles
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
        per_level: see :func:`mesoface.lab.training.prepare.capture_tiles`.
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
        per_level: tiles of each level; see :func:`mesoface.lab.training.prepare.capture_tiles`.
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
                preload=["torch", __name__],
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
