"""Pools of squares: the same whoever makes them, complete or not there, read one by one.

A square laid otherwise is what would have come of light, skin and relief laid otherwise.
"""

from __future__ import annotations

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.files.colour import encode_srgb
from mesoface.lab.training.config import ReliefConfig, TrainingError, check_config
from mesoface.lab.training.relief import pool as pools
from mesoface.lab.training.relief.pool import (
    WAYS,
    Batch,
    PoolFile,
    SquarePool,
    SquareSamples,
    draw_squares,
    fill_pool,
    laid,
    open_pools,
    write_file,
)
from mesoface.lab.training.relief.skin import Square
from mesoface.relief.inputs import CHANNELS, make_inputs, slopes
from mesoface.running.workers import End, Outcome

SIZE = 32


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Names of the files that were made; in this process, which is quicker for a few."""
    names: list[str] = []

    def here(function, jobs, *, name_of, path, kind, **_):
        for job in jobs:
            names.append(name_of(job))
            function(job)
        return []

    monkeypatch.setattr(pools, "run_all", here)
    monkeypatch.setattr(pools, "_PER_FILE", 3)
    return names


def test_more_squares_are_the_same_ones_and_more(square_values, drawn):
    def squares(count: int) -> SquarePool:
        config = check_config(
            square_values(data=[{"kind": "skin", "squares": count, "seed": 0}]), ReliefConfig
        )
        return open_pools(config.data, config)[0]

    few = squares(4)
    assert len(few) == 4
    assert drawn == ["0000000", "0000003"]
    first = [few[n] for n in range(4)]
    more = squares(7)
    assert drawn == ["0000000", "0000003", "0000006"], "those that are there are kept"
    assert len(more) == 7
    for n, square in enumerate(first):
        np.testing.assert_array_equal(square.maps, more[n].maps)
    assert few.contents != more.contents


def test_a_square_comes_back_as_it_was_drawn(tmp_path):
    (drawn_square,) = draw_squares(5, 2, 1, SIZE)
    file = PoolFile(tmp_path / "0.safetensors", draw_squares, (5, 0, 3, SIZE), 3)
    write_file(file)
    kept = SquarePool([file], 3, SIZE, 0.2, "three")[2]
    np.testing.assert_allclose(kept.maps, drawn_square.maps, atol=4e-3)  # 16 bits, of up to 8
    np.testing.assert_allclose(kept.relief, drawn_square.relief, atol=2e-3)
    np.testing.assert_array_equal(kept.valid, drawn_square.valid)
    np.testing.assert_allclose(kept.color / 255, drawn_square.color, atol=0.5 / 255 + 1e-6)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    file = PoolFile(tmp_path / "0.safetensors", draw_squares, (0, 0, 2, SIZE), 2)
    with pytest.raises(MesofaceError, match=r"0\.safetensors: no such file"):
        SquarePool([file], 2, SIZE, 0.2, "")
    write_file(file)
    with pytest.raises(TrainingError, match="its arrays have other shapes — delete it; it is made again"):
        SquarePool([file], 2, 48, 0.2, "")
    file.path.write_bytes(file.path.read_bytes()[:-9])
    with pytest.raises(TrainingError, match="is not a complete file of squares"):
        SquarePool([file], 2, SIZE, 0.2, "")


def test_what_cannot_be_made_is_said_with_its_reason(tmp_path, monkeypatch):
    def refusing(function, jobs, **_):
        for job in jobs:
            yield Outcome(job, None, "a.jpg: is no photo", End.REFUSED)

    monkeypatch.setattr("mesoface.running.resumable.run_jobs", refusing)
    files = [PoolFile(tmp_path / "pool" / "7.safetensors", draw_squares, (0, 0, 2, SIZE), 2)]
    with pytest.raises(TrainingError, match=r"1 of 1 files of squares failed: 7 \(a\.jpg: is no photo\)"):
        fill_pool(tmp_path / "pool", files, {"format": "test"}, workers=1)


def test_every_square_comes_once_in_a_round_and_the_same_to_everyone(easy_pools, square_values):
    config = check_config(square_values(), ReliefConfig)
    both = easy_pools(config.data) + easy_pools(config.validation.sources)
    samples, again = SquareSamples(both, 9), SquareSamples(both, 9)
    count = sum(map(len, both))
    for turn in range(2):
        reliefs = [np.sort(samples[turn * count + n][0].relief, axis=None).tobytes() for n in range(count)]
        assert len(set(reliefs)) == count
    for k in (40, 3, 25):
        np.testing.assert_array_equal(samples[k][0].maps, again[k][0].maps)
    other = SquareSamples(both, 10)
    assert any(not np.array_equal(samples[k][0].maps, other[k][0].maps) for k in range(5))


def test_a_batch_has_the_shapes_that_networks_take(easy_pools, square_values):
    config = check_config(square_values(), ReliefConfig)
    samples = SquareSamples(easy_pools(config.data), 0)
    batch = Batch.of([samples[k] for k in range(3)], "cpu")
    assert batch.maps.shape == (3, CHANNELS, SIZE, SIZE)
    assert batch.color.shape == (3, 3, SIZE, SIZE)
    assert batch.relief.shape == batch.valid.shape == (3, 1, SIZE, SIZE)
    assert float(batch.color.max()) <= 1
    assert batch.texel_mm.flatten().tolist() == pytest.approx([0.2] * 3)


N = 48
LAMP = np.array([0.5, -0.3, 0.8])  # along columns, along rows, outward


def lit(height: np.ndarray, valid: np.ndarray, lamp: np.ndarray) -> Square:
    """Even skin on a plane under one lamp (Lambert), and what is known of that: its derivative at rest."""
    along_columns, along_rows = slopes(height)
    normal = np.stack([-along_columns, -along_rows, np.ones_like(height)], -1)
    shade = 0.3 * (normal @ lamp) / np.linalg.norm(normal, axis=-1)
    color = encode_srgb(np.repeat(shade[..., None], 3, 2).astype(np.float32))
    light = np.broadcast_to(-lamp[:2] / lamp[2], (*height.shape, 2)).astype(np.float32)
    maps = make_inputs(color, light, 0.5 * height, valid)
    return Square(maps, height, valid, np.rint(color * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def height() -> np.ndarray:
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(N), np.arange(N))
    waves = [np.sin(rng.normal(0, 0.5) * x + rng.normal(0, 0.5) * y + rng.uniform(0, 6)) for _ in range(8)]
    return (0.05 * np.sum(waves, 0)).astype(np.float32)


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    valid = np.ones((N, N), bool)
    valid[:5, :30] = False
    return valid


def test_the_shading_tells_the_slopes(height, valid):
    """That the test's light is the network's: luminance goes along light times slope."""
    square = lit(height, valid, LAMP)
    inside = np.s_[8:-8, 8:-8]
    along_columns, along_rows = slopes(height)
    told = square.maps[3] * along_columns + square.maps[4] * along_rows
    assert np.corrcoef(told[inside].ravel(), square.maps[0][inside].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("way", range(WAYS))
def test_laying_commutes_with_lighting(height, valid, way):
    """Relief, mask and lamp are laid first and lit then, or lit first and laid then."""
    turned, mask, lamp = height, valid, LAMP
    if way & 4:
        turned, mask, lamp = turned.T, mask.T, lamp[[1, 0, 2]]
    if way & 1:
        turned, mask, lamp = turned[:, ::-1], mask[:, ::-1], lamp * [-1, 1, 1]
    if way & 2:
        turned, mask, lamp = turned[::-1], mask[::-1], lamp * [1, -1, 1]
    wanted = lit(np.ascontiguousarray(turned), np.ascontiguousarray(mask), lamp)
    got = laid(lit(height, valid, LAMP), way)
    np.testing.assert_array_equal(got.relief, wanted.relief)
    np.testing.assert_array_equal(got.valid, wanted.valid)
    np.testing.assert_allclose(got.color.astype(int), wanted.color.astype(int), atol=1)
    np.testing.assert_allclose(got.maps, wanted.maps, atol=2e-3)


def test_the_eight_ways_differ_and_leave_the_square_alone(height, valid):
    square = lit(height, valid, LAMP)
    before = square.maps.copy()
    assert len({laid(square, way).relief.tobytes() for way in range(WAYS)}) == WAYS
    np.testing.assert_array_equal(square.maps, before)
