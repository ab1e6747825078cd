"""Tiles read in long sequences, and mixed on the way: for training sets that no memory holds.

The place of a tile in a batch is a *lane*. In each epoch the shards, in an order drawn anew, are cut into as
many equal parts as there are lanes; a lane reads its part from front to back and draws the next tile from a
buffer of those that it has read. A process has the lanes of its share of the batch: it reads its own shards.

Which tile comes out is drawn without looking at one. So sample k is a function of seed and k, whatever the
number of processes, and a resumed training reads what the buffers held, and then the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mesoface.lab.training.config import TrainingError
from mesoface.lab.training.pack import PackedTiles, Shard
from mesoface.lab.training.tile import Tile


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
        self,
        tiles: PackedTiles,
        shards: NDArray[np.int64],
        start: int,
        epoch: int,
        order: NDArray[np.int64],
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
        passed = [at for at in self._held if self._turns[at] < turn]
        for at in passed:
            del self._held[at]
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
