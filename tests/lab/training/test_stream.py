"""Streams: every tile once an epoch, mixed, the same for any number of processes, from any sample on."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesoface.lab.training import pack
from mesoface.lab.training.config import StreamSource, TileSource, TrainingError
from mesoface.lab.training.data import TileSamples, load_samples
from mesoface.lab.training.pack import PackedTiles, TileStream, buffered_order, write_shard
from mesoface.lab.training.tile import write_tiles


@pytest.fixture
def packed(toy, tmp_path) -> PackedTiles:
    """23 tiles in shards of 5, 5, 5, 5 and 3; the texels of tile n are n + 1 mm wide."""
    made = [toy.make_toy_tile(0, texel_mm=float(n + 1)) for n in range(23)]
    for number, start in enumerate(range(0, 23, 5)):
        write_shard(tmp_path / "packed" / f"{number:06d}.safetensors", made[start : start + 5])
    (tmp_path / "packed" / "stream.json").write_text(f'{{"format": "{pack._FORMAT}", "tiles": 23}}')
    return PackedTiles(tmp_path / "packed")


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Every shard that a stream opens, and every tile that it reads, as SHARD or SHARD/N."""
    log: list[str] = []

    class Counting(pack.Shard):
        def __init__(self, path):
            super().__init__(path)
            log.append(path.stem)

        def __getitem__(self, n):
            log.append(f"{self.path.stem}/{n}")
            return super().__getitem__(n)

    monkeypatch.setattr(pack, "Shard", Counting)
    return log


def drawn(tiles: TileStream, samples) -> list[int]:
    return [round(tiles.tile(k).texel_mm) - 1 for k in samples]


@given(st.integers(0, 60), st.integers(1, 80), st.integers(0, 1000))
def test_a_buffer_gives_back_all_that_it_took_and_holds_no_more_than_it_can(count, buffer, seed):
    order = buffered_order(np.random.default_rng(seed), count, buffer)
    assert sorted(order) == list(range(count))
    assert all(place <= turn + buffer - 1 for turn, place in enumerate(order))
    if buffer == 1:
        assert list(order) == list(range(count))


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_no_tile_comes_twice_in_an_epoch(packed, lanes):
    tiles = TileStream(packed, [7], lanes, buffer=8)
    size = tiles.steps * lanes
    assert 23 - size < lanes
    epochs = [drawn(tiles, range(size * n, size * (n + 1))) for n in range(3)]
    assert all(len(set(epoch)) == size for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert {tile for epoch in epochs for tile in epoch} == set(range(23)), "what was left out comes later"


def test_shards_are_read_from_front_to_back_each_once(packed, opened):
    tiles = TileStream(packed, [7], 1, buffer=6)
    drawn(tiles, range(23))
    shards = [name for name in opened if "/" not in name]
    assert sorted(shards) == [f"{n:06d}" for n in range(5)]
    read = [name for name in opened if "/" in name]
    assert len(read) == 23
    for shard in shards:
        within = [int(name.split("/")[1]) for name in read if name.startswith(shard)]
        assert within == sorted(within)


def test_a_buffer_mixes_shards(packed):
    for buffer, mixed in ((1, False), (12, True)):
        first = drawn(TileStream(packed, [7], 1, buffer), range(5))
        assert (len({tile // 5 for tile in first}) > 1) == mixed


@pytest.mark.parametrize("start", [1, 7, 19, 30, 57])
def test_it_goes_on_anywhere_and_reads_only_what_is_still_to_come(packed, opened, start):
    lanes, end = 2, 66  # three epochs
    whole = drawn(TileStream(packed, [3], lanes, buffer=8), range(end))
    opened.clear()
    assert drawn(TileStream(packed, [3], lanes, buffer=8), range(start, end)) == whole[start:]
    assert len([name for name in opened if "/" in name]) == end - start


def test_any_sample_can_be_asked_for_at_any_time(packed):
    whole = drawn(TileStream(packed, [3], 2, buffer=6), range(50))
    asked = TileStream(packed, [3], 2, buffer=6)
    for k in (40, 3, 3, 49, 0, 12, 11):
        assert drawn(asked, [k]) == [whole[k]]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_read_what_one_does(packed, opened, processes):
    lanes, count = 4, 20
    whole = drawn(TileStream(packed, [3], lanes, buffer=8), range(count))
    opened.clear()
    share = lanes // processes
    for rank in range(processes):
        mine = [k for k in range(count) if k % lanes // share == rank]
        assert drawn(TileStream(packed, [3], lanes, buffer=8), mine) == [whole[k] for k in mine]
    read = Counter(name for name in opened if "/" in name)
    assert set(read.values()) == {1}, "no tile is read by two of them"


def test_samples_of_other_sources_are_not_read(packed, opened, toy, tmp_path):
    write_tiles(tmp_path / "tiles" / "0.npz", [toy.make_toy_tile(0, texel_mm=99.0)])
    sources = [
        StreamSource(kind="stream", folder=tmp_path / "packed", buffer=8),
        TileSource(kind="tiles", folder=tmp_path / "tiles", weight=2),
    ]
    samples = TileSamples(sources, 5, lambda tile, rng: tile, lanes=2)
    found = [samples[k].texel_mm for k in range(22)]
    streamed = [size for size in found if size != 99]
    assert 0 < len(streamed) < 22
    assert len(set(streamed)) == len(streamed)
    assert len([name for name in opened if "/" in name]) == len(streamed)
    assert samples.contents[1] == "1 tiles in 1 files"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loaders_stream_too(packed, tmp_path, workers):
    source = StreamSource(kind="stream", folder=tmp_path / "packed", buffer=6)
    make = partial(TileSamples, [source], 5, _as_it_is, lanes=2)
    expected = [make()[k].texel_mm for k in range(30)]
    assert [tile.texel_mm for tile in load_samples(make(), range(8, 30), workers)] == expected[8:]


def _as_it_is(tile, rng):
    return tile


def test_fewer_tiles_than_a_batch_are_refused(packed):
    with pytest.raises(TrainingError, match="23 packed tiles are fewer than the 24 of a batch"):
        TileStream(packed, [0], 24, buffer=8)
