"""Tiles packed into shards that training streams, shuffled once: neighbours come from many captures.

A shard is one safetensors file of many tiles, in the order in which they will be read. Each tile is one
tensor of bytes, itself a small safetensors file of the arrays of
:func:`mesoface.lab.training.tile.to_arrays`. So a tile is one stretch of the shard, read at once, and its
CRC-32, in the shard's header, shows whether these are the bytes that were written.

:class:`TileStream` reads them in long sequences, and mixes them on the way: for training sets that no memory
holds. The place of a tile in a batch is a *lane*. In each epoch the shards, in an order drawn anew, are cut
into as many equal parts as there are lanes; a lane reads its part from front to back and draws the next tile
from a buffer of those that it has read. A process has the lanes of its share of the batch: it reads its own
shards. Which tile comes out is drawn without looking at one. So sample k is a function of seed and k,
whatever the number of processes, and a resumed training reads what the buffers held, and then the rest.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mesoface.errors import MesofaceError
from mesoface.files.weights import SIZE_LIMIT, check_file, first_line
from mesoface.lab.training.checkpoint import save_safetensors
from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.tile import Tile, count_tiles, from_arrays, read_tiles, to_arrays
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import read_manifest, resumable_folder, run_all

SUFFIX = ".safetensors"

_SHARD_FORMAT = "mesoface shard 1"
_LARGEST_RECORD, _LARGEST_SHARD = 256 << 20, SIZE_LIMIT - (64 << 20)  # bytes; a header has its own
_MOST_TILES = 100_000


def write_shard(path: str | Path, tiles: Sequence[Tile]) -> None:
    """Write tiles as a shard: all of the file or nothing.

    Raises:
        MesofaceError: the file cannot be written, or would be larger than is ever read.
    """
    records = [safetensors.numpy.save(to_arrays(tile)) for tile in tiles]
    size = sum(map(len, records))
    if size > _LARGEST_SHARD:
        raise MesofaceError(
            f"would have {size >> 20} MB, {_LARGEST_SHARD >> 20} MB is the most",
            path=path,
            remedy="put fewer tiles in a shard",
        )
    # One entry: the library writes several in any order, and a shard's bytes must depend on its tiles alone.
    header = {_SHARD_FORMAT: json.dumps([zlib.crc32(record) for record in records])}
    tensors = {_name(n): np.frombuffer(record, np.uint8) for n, record in enumerate(records)}
    save_safetensors(path, lambda temporary: safetensors.numpy.save_file(tensors, temporary, header))


class Shard:
    """A shard that is open; tiles are read from it on demand.

    Raises:
        MesofaceError: the file is missing, truncated, or no shard.
    """

    def __init__(self, path: Path):
        self.path = path
        check_file(path)
        try:
            # It checks that the tensors' places fill the file exactly.
            self._file = safe_open(path, "np")
            self._sums: list[int] = json.loads((self._file.metadata() or {}).get(_SHARD_FORMAT, "[]"))
            names = set(self._file.keys())
        except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
            raise self._damaged(first_line(error)) from None
        if not (
            isinstance(self._sums, list)
            and 0 < len(self._sums) <= _MOST_TILES
            and names == {_name(n) for n in range(len(self._sums))}
        ):
            raise self._damaged("its header does not name its tiles")

    def __len__(self) -> int:
        """How many tiles there are."""
        return len(self._sums)

    def __getitem__(self, n: int) -> Tile:
        """Read tile ``n``.

        Raises:
            MesofaceError: its bytes are not those that were written.
        """
        try:
            record = self._file.get_slice(_name(n))
            if record.get_dtype() != "U8" or not 0 < int(np.prod(record.get_shape())) <= _LARGEST_RECORD:
                raise self._damaged(f"tile {n} is of no sensible size")
            content = self._file.get_tensor(_name(n)).tobytes()
            if zlib.crc32(content) != self._sums[n]:
                raise self._damaged(f"the bytes of tile {n} have another checksum")
            return from_arrays(safetensors.numpy.load(content).__getitem__)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self._damaged(f"tile {n}: {first_line(error)}") from None

    def _damaged(self, why: str) -> MesofaceError:
        return MesofaceError(
            f"is not a complete shard of tiles: {why}",
            path=self.path,
            remedy="delete it and run the same `mesoface train pack` again",
        )


def _name(n: int) -> str:
    """Of a tile: as the format sorts names, so are the tiles in the file."""
    return f"{n:06d}"


MANIFEST = "stream.json"
_FORMAT = "mesoface stream 1"
_ORDER = 0  # what the random numbers are for


@dataclass(frozen=True)
class PackJob:
    """One shard to write.

    Args:
        shard: the file.
        tiles: (file with tiles, number in it), in the order in which they stand in the shard.
    """

    shard: Path
    tiles: tuple[tuple[Path, int], ...]


def pack_tiles(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    per_shard: int = 200,
    seed: int = 0,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> int:
    """Write the tiles of ``folders`` into ``out`` as shards, in an order drawn once.

    A shard depends on the tiles and the arguments alone; those that are there are kept, so the work can be
    interrupted. Tiles take more room than before, since nothing is compressed: about 0.7 MB each.

    Args:
        folders: as ``mesoface train tiles`` writes them.
        out: folder for the shards.
        per_shard: tiles in a shard.
        seed: of the order.
        workers: processes at a time.
        progress: called after every shard.

    Returns:
        how many tiles there are.

    Raises:
        MesofaceError: a folder holds no tiles; ``out`` holds other things, or those of other tiles.
        IncompleteError: some shards could not be written, and why. The others were.
    """
    files = [file for folder in folders for file in tile_files(Path(folder))]
    counts = []
    for done, file in enumerate(files):
        progress("Looking at tiles", done, len(files))
        counts.append(count_tiles(file))
    progress("Looking at tiles", len(files), len(files))
    places = [(file, n) for file, count in zip(files, counts, strict=True) for n in range(count)]
    order = np.random.default_rng([seed, _ORDER]).permutation(len(places))
    jobs = [
        PackJob(
            Path(out) / f"{number:06d}{SUFFIX}", tuple(places[n] for n in order[start : start + per_shard])
        )
        for number, start in enumerate(range(0, len(places), per_shard))
    ]
    recipe = {
        "format": _FORMAT,
        "tiles": len(places),
        "per_shard": per_shard,
        "seed": seed,
        "source": _fingerprint(files, counts),
    }
    with resumable_folder(out, MANIFEST, recipe) as shards:
        missing = [job for job in jobs if not job.shard.exists()]
        run_all(
            pack_shard,
            missing,
            path=shards,
            name_of=lambda job: job.shard.name,
            kind="shards",
            workers=workers,
            done_before=len(jobs) - len(missing),
            preload=["torch", __name__],
            progress=progress,
        )
    return len(places)


def tile_files(folder: Path) -> list[Path]:
    """The files of tiles in a folder, sorted.

    Raises:
        TrainingError: there is no such folder, or no tile in it.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise TrainingError(
            "has no shards of tiles" if folder.is_dir() else "no such folder",
            path=folder,
            remedy="make them with `mesoface train tiles`",
        )
    return files


def pack_shard(job: PackJob) -> None:
    """Write one shard; each file that it takes tiles from is opened once."""
    wanted: dict[Path, list[int]] = defaultdict(list)
    for file, n in job.tiles:
        wanted[file].append(n)
    found: dict[tuple[Path, int], Tile] = {}
    for file, numbers in wanted.items():
        tiles = read_tiles(file, numbers)
        found |= {(file, n): tile for n, tile in zip(numbers, tiles, strict=True)}
    write_shard(job.shard, [found[place] for place in job.tiles])


class PackedTiles:
    """The tiles of a folder that :func:`pack_tiles` filled.

    Args:
        folder: with ``stream.json``.

    Raises:
        MesofaceError: it is none, or a shard of it is missing or truncated.
    """

    def __init__(self, folder: Path):
        if not (folder / MANIFEST).is_file():
            raise TrainingError(
                f"has no {MANIFEST}" if folder.is_dir() else "no such folder",
                path=folder,
                remedy="make it with `mesoface train pack`",
            )
        manifest = read_manifest(folder / MANIFEST)
        if manifest.get("format") != _FORMAT:
            raise TrainingError("was packed by another version", path=folder, remedy="pack the tiles again")
        self.shards = sorted(folder.glob(f"[0-9]*{SUFFIX}"))
        self.counts = np.array([len(Shard(path)) for path in self.shards], np.int64)
        if self.counts.sum() != manifest.get("tiles"):
            raise TrainingError(
                f"holds {self.counts.sum()} of {manifest.get('tiles')} tiles",
                path=folder,
                remedy="run the same `mesoface train pack` again to resume",
            )
        self.contents = f"{len(self)} packed tiles ({manifest.get('source')}, seed {manifest.get('seed')})"
        """Tells it from other tiles."""

    def __len__(self) -> int:
        """How many tiles there are."""
        return int(self.counts.sum())

    def __getitem__(self, index: int) -> Tile:
        """Read one tile; for reading all of them there are streams."""
        ends = np.cumsum(self.counts)
        shard = int(np.searchsorted(ends, index, side="right"))
        return Shard(self.shards[shard])[index - int(ends[shard] - self.counts[shard])]


def _fingerprint(files: Sequence[Path], counts: Sequence[int]) -> str:
    """Names, tiles and sizes of files, in short."""
    text = "\n".join(
        f"{file.name} {count} {file.stat().st_size}" for file, count in zip(files, counts, strict=True)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TileStream:
    """Sample k of a folder of shards, for k = 0, 1, 2, …; cheap when k grows, right for any k.

    An epoch has as many steps as every lane has tiles. At most ``lanes - 1`` tiles are left out of each,
    others every time.

    Args:
        tiles: the shards.
        key: of the random numbers.
        lanes: how many there are; sample k is of lane k modulo ``lanes``.
        buffer: tiles in memory at most, over all lanes.

    Raises:
        TrainingError: there are fewer tiles than lanes.
    """

    def __init__(self, tiles: PackedTiles, key: Sequence[int], lanes: int, buffer: int):
        self._tiles, self._key, self._count = tiles, list(key), lanes
        self._buffer = max(1, buffer // lanes)
        self.contents = tiles.contents
        self.steps = len(tiles) // lanes
        """Of an epoch."""
        if not self.steps:
            raise TrainingError(
                f"{len(tiles)} packed tiles are fewer than the {lanes} of a batch",
                path=tiles.shards[0].parent,
                remedy="make more, or lower batch",
            )
        self._lanes: dict[int, _Lane] = {}

    def tile(self, k: int, wanted: Callable[[int], bool] = lambda k: True) -> Tile:
        """The tile of sample ``k``.

        Args:
            k: of the training.
            wanted: whether a sample will be needed; tiles of the others are not read.

        Raises:
            MesofaceError: a shard is damaged.
        """
        step, number = divmod(k, self._count)
        epoch, turn = divmod(step, self.steps)
        lane = self._lanes.get(number)
        if lane is None or lane.epoch != epoch or turn < lane.next:
            lane = self._lanes[number] = self._open(epoch, number)
        return lane.take(turn, lambda turn: wanted((epoch * self.steps + turn) * self._count + number))

    def _open(self, epoch: int, number: int) -> _Lane:
        shards = np.random.default_rng([*self._key, epoch]).permutation(len(self._tiles.shards))
        turns = np.random.default_rng([*self._key, epoch, number])
        start = number * self.steps
        return _Lane(self._tiles, shards, start, epoch, buffered_order(turns, self.steps, self._buffer))


class _Lane:
    """One part of an epoch's shards, as far as it is read.

    Args:
        tiles: the shards.
        shards: the order in which the epoch has them.
        start: where in their sequence of tiles the part begins.
        epoch: its number.
        order: the place, from ``start``, of the tile that comes out at each turn.
    """

    def __init__(
        self, tiles: PackedTiles, shards: NDArray[np.int64], start: int, epoch: int, order: NDArray[np.int64]
    ):
        self.epoch, self.next = epoch, 0
        self._paths = [tiles.shards[n] for n in shards]
        self._ends = np.cumsum(tiles.counts[shards])
        self._start, self._order, self._turns = start, order, np.argsort(order)
        self._read = 0  # places that were read, or passed by
        self._held: dict[int, Tile] = {}
        self._shard: Shard | None = None

    def take(self, turn: int, wanted: Callable[[int], bool]) -> Tile:
        """The tile of ``turn``, none before ``self.next``; ``wanted`` tells which turns will be needed."""
        place = int(self._order[turn])
        for at in range(self._read, place + 1):
            later = int(self._turns[at])
            if later == turn or (later > turn and wanted(later)):
                self._held[at] = self._tile(self._start + at)
        self._read, self.next = max(self._read, place + 1), turn + 1
        taken = self._held.pop(place) if place in self._held else self._tile(self._start + place)
        self._held = {at: tile for at, tile in self._held.items() if self._turns[at] > turn}
        return taken

    def _tile(self, at: int) -> Tile:
        """Tile ``at`` of the epoch; its shard stays open for the next one."""
        number = int(np.searchsorted(self._ends, at, side="right"))
        if self._shard is None or self._shard.path != self._paths[number]:
            self._shard = Shard(self._paths[number])
        return self._shard[at - int(self._ends[number]) + len(self._shard)]


def buffered_order(rng: np.random.Generator, count: int, buffer: int) -> NDArray[np.int64]:
    """(count,) the places 0, 1, … as they come out of a buffer that they go into in this order.

    The buffer is filled; then one of it is drawn at a time and the next takes its place; in the end the rest
    comes in any order. So place p comes out at turn p - ``buffer`` + 1 or later.
    """
    held = np.arange(min(buffer, count))
    drawn = rng.integers(len(held), size=count - len(held))
    order = np.empty(count, np.int64)
    for turn, slot in enumerate(drawn):
        order[turn] = held[slot]
        held[slot] = len(held) + turn
    order[len(drawn) :] = rng.permutation(held)
    return order
