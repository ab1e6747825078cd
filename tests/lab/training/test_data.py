"""Samples by seed and number, shards read tile by tile, pools that are filled once."""

from __future__ import annotations

import multiprocessing
from collections import Counter

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.lab.training import data
from mesoface.lab.training.config import PatchSource, TileSource, TrainingError
from mesoface.lab.training.data import PatchPool, ShardedTiles, TileSamples, validation_tiles
from mesoface.lab.training.tile import write_tiles


@pytest.fixture
def folder(toy, tmp_path):
    """Two shards with tiles 0 to 4."""
    write_tiles(tmp_path / "tiles" / "a.npz", [toy.make_toy_tile(seed) for seed in range(3)])
    write_tiles(tmp_path / "tiles" / "b.npz", [toy.make_toy_tile(seed) for seed in range(3, 5)])
    return tmp_path / "tiles"


def as_it_is(tile, rng):
    return tile


def disturbed(tile, rng):
    return type(tile)(**{**vars(tile), "truth": tile.truth + np.float32(rng.normal())})


def test_shards_are_one_sequence(folder, toy):
    tiles = ShardedTiles(folder)
    assert len(tiles) == 5
    for index in range(5):
        assert np.array_equal(tiles[index].truth, toy.make_toy_tile(index).truth)


def test_no_tile_comes_twice_in_a_round(folder):
    samples = TileSamples([TileSource(kind="tiles", folder=folder)], 7, as_it_is)
    rounds = [[samples[k].truth[0, 0] for k in range(5 * turn, 5 * turn + 5)] for turn in range(3)]
    assert all(len(set(one)) == 5 for one in rounds)
    assert rounds[0] != rounds[1], "another order each time"


def test_a_sample_depends_on_seed_and_number_alone(folder):
    sources = [TileSource(kind="tiles", folder=folder)]
    first, second = TileSamples(sources, 7, disturbed), TileSamples(sources, 7, disturbed)
    second[3]  # asked in another order
    assert np.array_equal(first[4].truth, second[4].truth)
    assert not np.array_equal(first[4].truth, TileSamples(sources, 8, disturbed)[4].truth)
    again = first[4].truth - first[9].truth  # the same tile or not: never the same disturbance
    assert np.abs(again).max() > 1e-6


def test_weights_of_sources_are_kept(folder, toy, tmp_path):
    write_tiles(tmp_path / "other" / "a.npz", [toy.make_toy_tile(9, texel_mm=2.0)])
    sources = [
        TileSource(kind="tiles", folder=folder, weight=3),
        TileSource(kind="tiles", folder=tmp_path / "other"),
    ]
    samples = TileSamples(sources, 0, as_it_is)
    drawn = Counter(samples[k].texel_mm for k in range(200))
    assert 0.17 < drawn[2.0] / 200 < 0.33


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_keep_the_order(folder, workers):
    samples = TileSamples([TileSource(kind="tiles", folder=folder)], 1, disturbed, workers=workers)
    loaded = [tile.truth for tile in samples.load([4, 0, 9])]
    assert all(np.array_equal(a, samples[k].truth) for a, k in zip(loaded, [4, 0, 9], strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_shard_is_named_also_by_a_loader_process(folder, workers):
    samples = TileSamples([TileSource(kind="tiles", folder=folder)], 1, as_it_is, workers=workers)
    for shard in folder.iterdir():
        shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(MesofaceError, match=r"[ab]\.npz: is not a shard of tiles") as caught:
        list(samples.load([0]))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children(), "a worker outlives the error"


def test_folders_without_shards_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="no such folder"):
        ShardedTiles(tmp_path / "none")
    with pytest.raises(
        TrainingError, match=r"has no shards of tiles — make them with `mesoface train tiles`"
    ):
        ShardedTiles(tmp_path)


def test_a_patch_is_made_once(toy, tmp_path, monkeypatch):
    made = []

    def patch_tile(rng, size, phone):
        made.append((size, phone))
        return toy.make_toy_tile(int(rng.integers(1 << 30)))

    monkeypatch.setattr(data, "patch_tile", patch_tile)
    source = PatchSource(kind="patches", pool=3, size=32, seed=1, cache=tmp_path)
    first = [PatchPool(source)[index].truth for index in range(3)]
    again = [PatchPool(source)[index].truth for index in range(3)]
    assert made == [(32, False)] * 3
    assert np.array_equal(first, again)
    other = PatchPool(source.model_copy(update={"seed": 2}))[0].truth
    assert not np.array_equal(first[0], other)
    PatchPool(source.model_copy(update={"phone": True}))[0]
    assert made[-1] == (32, True), "another pool, though seed and size are the same"


def test_a_damaged_patch_is_named_with_what_to_do(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "patch_tile", lambda rng, size, phone: toy.make_toy_tile(0))
    pool = PatchPool(PatchSource(kind="patches", pool=1, cache=tmp_path))
    pool[0]
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(b"PK")
    with pytest.raises(
        TrainingError, match=r"is not a shard of tiles.* — delete it; it is made again"
    ) as caught:
        pool[0]
    assert caught.value.path == file


def test_a_patch_is_what_the_generator_makes(tmp_path):
    pool = PatchPool(PatchSource(kind="patches", pool=1, size=32, cache=tmp_path))
    tile = pool[0]
    assert tile.truth.shape == (32, 32)
    assert np.array_equal(pool[0].truth, tile.truth)


def test_validation_tiles_are_spread_over_the_sources(folder, toy, tmp_path):
    write_tiles(tmp_path / "other" / "a.npz", [toy.make_toy_tile(9, texel_mm=2.0)])
    sources = [TileSource(kind="tiles", folder=folder), TileSource(kind="tiles", folder=tmp_path / "other")]
    told = []
    tiles = validation_tiles(sources, 4, lambda *report: told.append(report))
    assert [tile.texel_mm for tile in tiles] == [0.5, 0.5, 2.0]
    assert np.array_equal(tiles[1].truth, ShardedTiles(folder)[4].truth), "the last as well as the first"
    assert told[-1] == ("validation tiles", 3, 3)
