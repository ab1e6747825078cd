"""Shards: a tile comes back to the bit, and a byte that changed is found."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from mesoface.errors import MesofaceError
from mesoface.lab.training import shard
from mesoface.lab.training.shard import Shard, write_shard


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
    with pytest.raises(MesofaceError, match="is no whole shard of tiles"):
        Shard(path)


def test_other_files_are_no_shards(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"000000": np.zeros(4, np.uint8)}, path)
    with pytest.raises(MesofaceError, match="its header does not name its tiles"):
        Shard(path)
    for sums in ("[", "{}", "[1, 2]", "[]", "[[0]]"):
        header = {shard._FORMAT: sums}
        safetensors.numpy.save_file({"000000": np.zeros(4, np.uint8)}, path, header)
        with pytest.raises(MesofaceError, match="is no whole shard of tiles"):
            Shard(path)[0]


def test_a_tile_whose_arrays_do_not_fit_is_refused(path, toy, monkeypatch):
    wrong = toy.make_toy_tile(0)
    arrays = shard.to_arrays(wrong) | {"normal": wrong.normal[:-1]}
    monkeypatch.setattr(shard, "to_arrays", lambda tile: arrays)
    write_shard(path, [wrong])
    with pytest.raises(MesofaceError, match="tile 0: a tile has shapes or numbers"):
        Shard(path)[0]
    del arrays["truth"]
    write_shard(path, [wrong])
    with pytest.raises(MesofaceError, match="is no whole shard of tiles: tile 0: 'truth'"):
        Shard(path)[0]


def test_shards_that_could_not_be_read_are_not_written(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "_LARGEST_SHARD", 1000)
    with pytest.raises(MesofaceError, match="put fewer tiles in a shard"):
        write_shard(tmp_path / "0.safetensors", [toy.make_toy_tile(0)])
    assert not list(tmp_path.iterdir())
