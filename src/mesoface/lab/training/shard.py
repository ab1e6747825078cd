"""A shard: many tiles in one safetensors file, in the order in which they will be read.

Each tile is one tensor of bytes, itself a small safetensors file of the arrays of
:func:`mesoface.lab.training.tile.to_arrays`. So a tile is one stretch of the shard, read at once, and its
CRC-32, which the shard's header has, tells whether these are the bytes that were written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from mesoface.errors import MesofaceError
from mesoface.files.atomic import atomic_file
from mesoface.files.checkpoints import SIZE_LIMIT, check_file, first_line
from mesoface.lab.training.tile import Tile, from_arrays, to_arrays

SUFFIX = ".safetensors"

_FORMAT = "mesoface shard 1"
_LARGEST_TILE, _LARGEST_SHARD = 256 << 20, SIZE_LIMIT - (64 << 20)  # bytes; a header has its own
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
    # One entry: the library writes several in any order, and a shard's bytes shall depend on its tiles alone.
    header = {_FORMAT: json.dumps([zlib.crc32(record) for record in records])}
    tensors = {_name(n): np.frombuffer(record, np.uint8) for n, record in enumerate(records)}
    with atomic_file(path) as temporary:
        try:
            safetensors.numpy.save_file(tensors, temporary, header)
        except SafetensorError as error:
            raise MesofaceError(
                f"cannot be written ({first_line(error)})",
                path=path,
                remedy="free space or name another place",
            ) from None
        temporary.chmod(0o644)  # as every other file of ours; the library's are the owner's alone


class Shard:
    """A shard that is open; tiles are read from it when they are asked for.

    Raises:
        MesofaceError: the file is missing, truncated, or no shard.
    """

    def __init__(self, path: Path):
        self.path = path
        check_file(path)
        try:
            # It checks that the tensors' places fill the file exactly.
            self._file = safe_open(path, "np")
            self._sums: list[int] = json.loads((self._file.metadata() or {}).get(_FORMAT, "[]"))
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
            if record.get_dtype() != "U8" or not 0 < int(np.prod(record.get_shape())) <= _LARGEST_TILE:
                raise self._damaged(f"tile {n} is of no sensible size")
            content = self._file.get_tensor(_name(n)).tobytes()
            if zlib.crc32(content) != self._sums[n]:
                raise self._damaged(f"the bytes of tile {n} have another checksum")
            return from_arrays(safetensors.numpy.load(content).__getitem__)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self._damaged(f"tile {n}: {first_line(error)}") from None

    def _damaged(self, why: str) -> MesofaceError:
        return MesofaceError(
            f"is no whole shard of tiles: {why}",
            path=self.path,
            remedy="delete it and run the same `mesoface train pack` again",
        )


def _name(n: int) -> str:
    """Of a tile: as the format sorts names, so are the tiles in the file."""
    return f"{n:06d}"
