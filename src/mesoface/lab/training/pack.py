"""Tiles packed into shards that training streams, shuffled once: neighbours come from many captures.

A shard is one safetensors file of many tiles, in the order in which they will be read. Each tile is one
tensor of bytes, itself a small safetensors file of the arrays of
:func:`mesoface.lab.training.tile.to_arrays`. So a tile is one stretch of the shard, read at once, and its
CRC-32, in the shard's header, shows whether these are the bytes that were written.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
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
            preload=["torch", "mesoface.lab.training.pack"],
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
