"""Which tile is sample k: a function of (seed, k) alone, so that a run can be resumed anywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from mesoface.errors import MesofaceError
from mesoface.lab.training.config import AnyTileSource, PatchSource, StreamSource, TileSource, TrainingError
from mesoface.lab.training.pack import PackedTiles, TileStream, tile_files
from mesoface.lab.training.patches import patch_tile
from mesoface.lab.training.tile import Tile, count_tiles, read_tiles, write_tiles
from mesoface.running.process import one_opencv_thread
from mesoface.running.progress import ProgressCallback, silent

# Part of a pool's name: to be raised whenever `patch_tile` makes another patch of the same random numbers.
_GENERATION = 2
_PHONE_GENERATION = 1  # the same of patches as a phone takes them
# What random numbers are for: streams that never meet.
_CHOICE, _PREPARE, _ORDER, _PATCH = 0, 1, 3, 4  # 2 is the loop's


class ShardedTiles:
    """All tiles of a folder of shards, in the order of the shards' names.

    Raises:
        TrainingError: there is no such folder, or no shard in it.
    """

    def __init__(self, folder: Path):
        self.shards = tile_files(folder)
        self._ends = np.cumsum([count_tiles(shard) for shard in self.shards])
        self.contents = f"{len(self)} tiles in {len(self.shards)} files"

    def __len__(self) -> int:
        """How many tiles there are."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Tile:
        """Read one tile; nothing else of its shard is."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[shard - 1]) if shard else 0
        return read_tiles(self.shards[shard], [index - before])[0]


class PatchPool:
    """Skin patches, each generated once and kept."""

    def __init__(self, source: PatchSource):
        self._source = source
        kind = f"generation{_PHONE_GENERATION}-phone" if source.phone else f"generation{_GENERATION}"
        self._folder = source.cache / f"{kind}-seed{source.seed}-size{source.size}"
        self.contents = f"{source.pool} patches of {kind.replace('generation', 'generation ')}"

    def __len__(self) -> int:
        """How many different patches there are."""
        return self._source.pool

    def __getitem__(self, index: int) -> Tile:
        """Patch ``index``: read, or made and written."""
        file = self._folder / f"{index:06d}.npz"
        if not file.is_file():
            rng = np.random.default_rng([self._source.seed, _PATCH, index])
            write_tiles(file, [patch_tile(rng, self._source.size, phone=self._source.phone)])
        try:
            return read_tiles(file)[0]
        except MesofaceError as error:
            raise TrainingError(error.message, path=file, remedy="delete it; it is made again") from None


TileSet = ShardedTiles | PatchPool | PackedTiles
"""Tiles that are numbered from 0, with ``contents`` that tell them from others."""


def open_source(source: AnyTileSource) -> TileSet:
    """The tiles that a source of the configuration stands for."""
    if isinstance(source, PatchSource):
        return PatchPool(source)
    return ShardedTiles(source.folder) if isinstance(source, TileSource) else PackedTiles(source.folder)


def described(source: AnyTileSource) -> str:
    """A source of tiles in words, for the card."""
    if isinstance(source, PatchSource):
        photographed = " as a phone takes them" if source.phone else ""
        return (
            f"{source.pool} skin patches{photographed} of {source.size} x {source.size} texels, "
            f"seed {source.seed}"
        )
    packed = "packed " if isinstance(source, StreamSource) else ""
    return f"{packed}tiles of captures in {source.folder.name}"


class TileSamples:
    """Sample k of a training, for k = 0, 1, 2, …

    A source is drawn by its weight. In each round of as many samples as a source has tiles, none of its tiles
    comes twice.

    Args:
        sources: of the configuration.
        seed: of the training.
        prepare: what is done to a tile before it is used; see ``Recipe.prepare``.
        lanes: samples of a step; see :class:`~mesoface.lab.training.pack.TileStream`.
        workers: processes that :meth:`load` prepares samples in.

    Raises:
        MesofaceError: a source is not there, or holds nothing of use.
    """

    def __init__(
        self,
        sources: Sequence[AnyTileSource],
        seed: int,
        prepare: Callable[[Tile, np.random.Generator], Tile],
        lanes: int = 1,
        workers: int = 0,
    ):
        self._seed, self._prepare, self._workers = seed, prepare, workers
        self.described = tuple(map(described, sources))
        self._sources = [_draws(source, [seed, _ORDER, n], lanes) for n, source in enumerate(sources)]
        self.contents = tuple(source.contents for source in self._sources)
        weights = np.array([source.weight for source in sources])
        self._shares = weights / weights.sum()

    def __getitem__(self, k: int) -> Tile:
        """Sample ``k``, prepared."""
        chosen = self._chosen(k)
        tile = self._sources[chosen].tile(k, lambda k: self._chosen(k) == chosen)
        return self._prepare(tile, np.random.default_rng([self._seed, _PREPARE, k]))

    def load(self, numbers: Sequence[int]) -> Generator[Tile, None, None]:
        """The samples of these numbers in that order, prepared in the loader processes, if there are any."""
        listed, workers = _Listed(self, numbers), self._workers
        loader = DataLoader(listed, batch_size=None, num_workers=workers, worker_init_fn=_start_worker)
        # Forked workers inherit the setting: set by themselves, OpenCV would wait for threads that are gone.
        with one_opencv_thread if workers else nullcontext():
            tiles = iter(loader)
        try:
            for tile in tiles:
                if isinstance(tile, MesofaceError):
                    raise tile
                yield tile
        finally:
            del tiles  # ends the workers at once, even while a traceback keeps this frame

    def _chosen(self, k: int) -> int:
        """The source of sample ``k``."""
        if len(self._shares) == 1:
            return 0
        return int(np.random.default_rng([self._seed, _CHOICE, k]).choice(len(self._shares), p=self._shares))


def _draws(source: AnyTileSource, key: list[int], lanes: int) -> TileStream | _Rounds:
    if isinstance(source, StreamSource):
        return TileStream(PackedTiles(source.folder), key, lanes, source.buffer)
    return _Rounds(open_source(source), key)


class _Rounds:
    """Tiles anywhere in a set, in another order every time all of them have come."""

    def __init__(self, tiles: TileSet, key: list[int]):
        self._tiles, self._key, self.contents = tiles, key, tiles.contents

    def tile(self, k: int, wanted: Callable[[int], bool]) -> Tile:
        """The tile of sample ``k``; see :meth:`TileStream.tile`."""
        turn, place = divmod(k, len(self._tiles))
        return self._tiles[int(_order((*self._key, turn), len(self._tiles))[place])]


@lru_cache(maxsize=32)
def _order(key: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """In which order the tiles of a source come in one round."""
    return np.random.default_rng(key).permutation(count)


class _Listed(Dataset[Tile | MesofaceError]):
    """``samples`` at ``indices``, as torch's loader wants it. It would wrap errors; they are handed over."""

    def __init__(self, samples: TileSamples, indices: Sequence[int]):
        self._samples, self._indices = samples, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, n: int) -> Tile | MesofaceError:
        try:
            return self._samples[self._indices[n]]
        except MesofaceError as error:
            return error


def _start_worker(_: int) -> None:
    """Ignore Ctrl-C: the training finishes its step, for which it needs its loaders."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def validation_tiles(
    sources: Sequence[AnyTileSource], count: int, progress: ProgressCallback = silent
) -> list[Tile]:
    """``count`` tiles at most, the same ones every time, evenly of all sources and spread over each."""
    chosen: list[tuple[TileSet, int]] = []
    for n, source in enumerate(sources):
        tiles = open_source(source)
        wanted = min(len(tiles), (count - len(chosen)) // (len(sources) - n))
        chosen.extend((tiles, int(index)) for index in np.linspace(0, len(tiles) - 1, wanted).round())
    loaded: list[Tile] = []
    for tiles, index in chosen:
        progress("validation tiles", len(loaded), len(chosen))
        loaded.append(tiles[index])
    progress("validation tiles", len(loaded), len(chosen))
    return loaded
