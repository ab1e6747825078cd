"""Shards, packing and streams: every tile once and to the bit, whatever interrupted it, and mixed.

Changed bytes are found; a stream is the same for any number of processes, from any sample on.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.lab.training import pack
from mesoface.lab.training.config import StreamSource, TileSource, TrainingError
from mesoface.lab.training.data import TileSamples
from mesoface.lab.training.pack import PackedTiles, Shard, TileStream, buffered_order, pack_tiles, write_shard
from mesoface.lab.training.tile import write_tiles


@pytest.fixture
def path(toy, tmp_path):
    """A shard of three tiles."""
    write_shard(tmp_path / "000000.safetensors", [toy.make_toy_tile(seed) for seed in range(3)])
    return tmp_path / "000000.safetensors"


def test_tiles_come_back_to_the_bit(path, toy):
    opened = Shard(path)
    assert len(opened) == 3
    for n in (2, 0, 1):
        found, made = opened[n], toy.make_toy_tile(n)
        for name in ("projections", "position", "normal", "visibility", "truth"):
            assert getattr(found, name).dtype == getattr(made, name).dtype, name
            assert np.array_equal(getattr(found, name), getattr(made, name), equal_nan=True), name
        assert all(np.array_equal(a, b) for a, b in zip(found.images, made.images, strict=True))
        assert (found.texel_mm, found.step_mm, found.reach_mm) == (0.5, 0.25, 1.5)
    assert path.stat().st_mode & 0o777 == 0o644


def test_tiles_stand_in_the_file_in_their_order(path):
    """So that reading them one after the other reads the file from front to back."""
    content = path.read_bytes()
    with safe_open(path, "np") as file:
        places = [content.find(file.get_tensor(f"{n:06d}").tobytes()) for n in range(3)]
    assert places == sorted(places)
    assert places[0] > 0


def test_a_byte_that_changed_is_found(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    opened = Shard(path)
    assert opened[0].texel_mm == 0.5, "the others are as they were"
    with pytest.raises(
        MesofaceError, match="the bytes of tile 2 have another checksum — delete it"
    ) as caught:
        opened[2]
    assert caught.value.path == path


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_shard_is_refused_when_it_is_opened(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MesofaceError, match="is not a complete shard of tiles"):
        Shard(path)


def test_other_files_are_no_shards(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"000000": np.zeros(4, np.uint8)}, path)
    with pytest.raises(MesofaceError, match="its header does not name its tiles"):
        Shard(path)
    for sums in ("[", "{}", "[1, 2]", "[]", "[[0]]"):
        header = {pack._SHARD_FORMAT: sums}
        safetensors.numpy.save_file({"000000": np.zeros(4, np.uint8)}, path, header)
        with pytest.raises(MesofaceError, match="is not a complete shard of tiles"):
            Shard(path)[0]


def test_a_tile_whose_arrays_do_not_fit_is_refused(path, toy, monkeypatch):
    wrong = toy.make_toy_tile(0)
    arrays = pack.to_arrays(wrong) | {"normal": wrong.normal[:-1]}
    monkeypatch.setattr(pack, "to_arrays", lambda tile: arrays)
    write_shard(path, [wrong])
    with pytest.raises(MesofaceError, match="tile 0: a tile has shapes or numbers"):
        Shard(path)[0]
    del arrays["truth"]
    write_shard(path, [wrong])
    with pytest.raises(MesofaceError, match="is not a complete shard of tiles: tile 0: 'truth'"):
        Shard(path)[0]


def test_shards_that_could_not_be_read_are_not_written(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "_LARGEST_SHARD", 1000)
    with pytest.raises(MesofaceError, match="put fewer tiles in a shard"):
        write_shard(tmp_path / "0.safetensors", [toy.make_toy_tile(0)])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def tiles(toy, tmp_path):
    """Three files of 3, 4 and 2 tiles; their texels' sizes tell them apart."""
    numbers = iter(range(1, 10))
    for name, count in (("a", 3), ("b", 4), ("c", 2)):
        made = [toy.make_toy_tile(0, texel_mm=float(next(numbers))) for _ in range(count)]
        write_tiles(tmp_path / "tiles" / f"{name}.npz", made)
    return tmp_path / "tiles"


@pytest.fixture
def in_this_process(monkeypatch):
    """Jobs run here, one after the other."""

    def run_all(function, jobs, **_):
        return [function(job) for job in jobs]

    monkeypatch.setattr(pack, "run_all", run_all)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.usefixtures("in_this_process")
def test_every_tile_is_packed_once_and_mixed(tiles, tmp_path):
    assert pack_tiles([tiles], tmp_path / "packed", per_shard=4) == 9
    packed = PackedTiles(tmp_path / "packed")
    assert list(packed.counts) == [4, 4, 1]
    found = [packed[n].texel_mm for n in range(9)]
    assert Counter(found) == Counter(range(1, 10))
    assert found != sorted(found)
    assert found != [PackedTiles(tmp_path / "packed")[n].texel_mm for n in reversed(range(9))]


@pytest.mark.usefixtures("in_this_process")
def test_interrupted_it_goes_on_and_ends_with_the_same_files(tiles, tmp_path, monkeypatch):
    pack_tiles([tiles], tmp_path / "whole", per_shard=2)
    written = pack.write_shard

    def stop_at_the_third(path, made):
        if path.name.startswith("000002"):
            raise KeyboardInterrupt
        written(path, made)

    monkeypatch.setattr(pack, "write_shard", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        pack_tiles([tiles], tmp_path / "broken", per_shard=2)
    with pytest.raises(TrainingError, match=r"holds 4 of 9 tiles — run the same `mesoface train pack` again"):
        PackedTiles(tmp_path / "broken")
    monkeypatch.setattr(pack, "write_shard", written)
    pack_tiles([tiles], tmp_path / "broken", per_shard=2)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_workers_make_the_same_files_and_a_damaged_file_is_named(tiles, tmp_path):
    pack_tiles([tiles], tmp_path / "one", per_shard=5)
    good = (tiles / "b.npz").read_bytes()
    count = pack.count_tiles

    def counted_before_it_broke(file):
        found = count(file)
        if file.stem == "b":
            (tiles / "b.npz").write_bytes(good[: len(good) // 2].ljust(len(good), b"\0"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "count_tiles", counted_before_it_broke)
        with pytest.raises(IncompleteError, match=r"000000\.safetensors \(.*b\.npz: is not a shard of tiles"):
            pack_tiles([tiles], tmp_path / "two", per_shard=5, workers=2)
    (tiles / "b.npz").write_bytes(good)
    pack_tiles([tiles], tmp_path / "two", per_shard=5, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.usefixtures("in_this_process")
def test_another_packing_does_not_mix_with_what_is_there(tiles, toy, tmp_path):
    pack_tiles([tiles], tmp_path / "packed", per_shard=4)
    with pytest.raises(MesofaceError, match="was made with other settings: per_shard was 4, now 5"):
        pack_tiles([tiles], tmp_path / "packed", per_shard=5)
    write_tiles(tiles / "d.npz", [toy.make_toy_tile(1)])
    with pytest.raises(MesofaceError, match="tiles was 9, now 10"):
        pack_tiles([tiles], tmp_path / "packed", per_shard=4)


@pytest.mark.usefixtures("in_this_process")
def test_folders_that_are_none_are_refused(tiles, tmp_path):
    with pytest.raises(TrainingError, match="no such folder — make them with `mesoface train tiles`"):
        pack_tiles([tmp_path / "none"], tmp_path / "packed")
    with pytest.raises(TrainingError, match="no such folder — make it with `mesoface train pack`"):
        PackedTiles(tmp_path / "none")
    with pytest.raises(TrainingError, match=r"has no stream\.json"):
        PackedTiles(tiles)
    pack_tiles([tiles], tmp_path / "packed")
    (tmp_path / "packed" / "stream.json").write_text('{"format": "another"}')
    with pytest.raises(TrainingError, match="was packed by another version"):
        PackedTiles(tmp_path / "packed")


@pytest.mark.usefixtures("in_this_process")
def test_a_fingerprint_tells_data_from_other_data(tiles, toy, tmp_path):
    pack_tiles([tiles], tmp_path / "a")
    write_tiles(tiles / "c.npz", [toy.make_toy_tile(5), toy.make_toy_tile(6)])
    pack_tiles([tiles], tmp_path / "b")
    assert PackedTiles(tmp_path / "a").contents != PackedTiles(tmp_path / "b").contents
    assert np.array_equal(PackedTiles(tmp_path / "a").counts, PackedTiles(tmp_path / "b").counts)


@pytest.fixture
def packed(toy, pack_by_five) -> PackedTiles:
    """23 tiles in shards of 5, 5, 5, 5 and 3; the texels of tile n are n + 1 mm wide."""
    return PackedTiles(pack_by_five([toy.make_toy_tile(0, texel_mm=float(n + 1)) for n in range(23)]))


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
    samples = TileSamples(sources, 5, _as_it_is, lanes=2)
    found = [samples[k].texel_mm for k in range(22)]
    streamed = [size for size in found if size != 99]
    assert 0 < len(streamed) < 22
    assert len(set(streamed)) == len(streamed)
    assert len([name for name in opened if "/" in name]) == len(streamed)
    assert samples.contents[1] == "1 tiles in 1 files"


def _as_it_is(tile, rng):
    return tile


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loaders_stream_too(packed, tmp_path, workers):
    source = StreamSource(kind="stream", folder=tmp_path / "packed", buffer=6)
    make = partial(TileSamples, [source], 5, _as_it_is, lanes=2, workers=workers)
    expected = [make()[k].texel_mm for k in range(30)]
    assert [tile.texel_mm for tile in make().load(range(8, 30))] == expected[8:]


def test_fewer_tiles_than_a_batch_are_refused(packed):
    with pytest.raises(TrainingError, match="23 packed tiles are fewer than the 24 of a batch"):
        TileStream(packed, [0], 24, buffer=8)
