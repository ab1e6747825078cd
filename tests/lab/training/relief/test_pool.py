"""Pools of squares: the same whoever makes them, complete or not there, read one by one.

A square laid otherwise is what would have come of light, skin and relief laid otherwise. Also the loss of
relief, the same high-pass as in use, and the networks that are trained.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mesoface.errors import MesofaceError
from mesoface.files.images import encode_srgb
from mesoface.files.weights import load_network
from mesoface.lab.training.config import ReliefConfig, ReliefLoss, TrainingError, check_config
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
from mesoface.lab.training.relief.recipe import LightRecipe, high_pass, relief_error, relief_recipe
from mesoface.lab.training.relief.skin import Square
from mesoface.lab.training.run import train
from mesoface.relief import inputs
from mesoface.relief.inputs import CHANNELS, make_inputs, slopes
from mesoface.relief.network import MESO_GENERATOR, ReliefGenerator
from mesoface.running.workers import End, Outcome
from mesoface.weights import describe

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


def test_squares_as_a_phone_photographs_them_show_the_same_relief_in_other_colours(square_values, drawn):
    def first(phone: bool) -> Square:
        source = {"kind": "skin", "squares": 1, "seed": 3, "phone": phone}
        config = check_config(square_values(data=[source]), ReliefConfig)
        return open_pools(config.data, config)[0][0]

    clean, damaged, again = first(False), first(True), first(True)
    np.testing.assert_array_equal(damaged.color, again.color)
    assert not np.array_equal(clean.color, damaged.color)
    assert drawn == ["0000000", "0000000"], "two pools of one seed, each drawn once"


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

    monkeypatch.setattr("mesoface.running.workers.run_jobs", refusing)
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


BOTH = ReliefLoss(slope=1.0, height=1.0)


@pytest.fixture
def relief() -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).normal(0, 1, (3, 1, 24, 24)).astype(np.float32))


def test_the_truth_costs_nothing_and_nothing_costs_one(relief):
    everywhere = torch.ones_like(relief)
    assert float(relief_error(relief, relief, everywhere).loss(BOTH)) == 0
    deep = 10 * relief  # so that the floor does not matter
    nothing = relief_error(torch.zeros_like(deep), deep, everywhere)
    assert nothing.left == pytest.approx(1)
    for weights in (ReliefLoss(), ReliefLoss(slope=0, height=1)):
        assert float(nothing.loss(weights)) == pytest.approx(1, abs=0.01)
    assert float(relief_error(-deep, deep, everywhere).loss(ReliefLoss())) > 1.9


def test_a_constant_has_no_slope_but_a_height(relief):
    error = relief_error(relief + 1, relief, torch.ones_like(relief))
    assert float(error.slope.max()) < 1e-5
    assert float(error.height.min()) > 0.99


def test_squares_count_alike_however_deep_they_are(relief):
    deep = relief * torch.tensor([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
    error = relief_error(0.5 * deep, deep, torch.ones_like(deep))
    shares = error.slope / error.slope_missing
    assert float((shares - 0.5).abs().max()) < 0.01


def test_what_is_no_skin_counts_nowhere(relief):
    valid = torch.ones_like(relief)
    valid[..., :12] = 0
    wrong = relief.clone()
    wrong[..., :12] += torch.linspace(0, 50, 12)
    assert float(relief_error(wrong, relief, valid).loss(BOTH)) == 0
    nowhere = relief_error(wrong, relief, torch.zeros_like(valid))
    assert float(nowhere.loss(BOTH)) == 0


def test_the_high_pass_is_the_one_of_the_results():
    rng = np.random.default_rng(1)
    height = rng.normal(0, 1, (40, 48)).astype(np.float32)
    valid = np.ones((40, 48), bool)
    valid[10:20, 30:] = False
    wanted = inputs.high_pass(height, valid)
    as_tensor = torch.as_tensor(height)[None, None], torch.as_tensor(valid, dtype=torch.float32)[None, None]
    np.testing.assert_allclose(high_pass(*as_tensor)[0, 0].numpy(), wanted, atol=2e-5)


def test_every_weight_gets_a_gradient(relief):
    rng = np.random.default_rng(2)
    square = Square(
        rng.normal(0, 1, (inputs.CHANNELS, 24, 24)).astype(np.float16),
        relief[0, 0].numpy().astype(np.float16),
        np.ones((24, 24), bool),
        np.zeros((24, 24, 3), np.uint8),
    )
    batch = Batch.of([(square, 0.2)], "cpu")
    torch.manual_seed(0)
    network = ReliefGenerator()
    relief_error(LightRecipe(network).relief(batch), batch.relief, batch.valid).loss(BOTH).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A constant is high-passed away, so the last bias alone may have none.
        assert parameter.grad.abs().max() > 0 or name == "leave.bias", name


@pytest.mark.usefixtures("easy_pools")
def test_the_papers_network_takes_a_step(square_values, tmp_path):
    loss = {"slope": 1.0, "height": 1.0}
    config = check_config(square_values(network="paper", width=4, steps=1, batch=2, loss=loss), ReliefConfig)
    assert train(config).finished
    weights = tmp_path / "run" / "weights.safetensors"
    about = describe(weights)
    assert (about.network.name, about.ngf) == ("meso_generator", 4)
    torch.manual_seed(config.seed)
    first = relief_recipe(config).network.state_dict()
    trained = load_network(weights, MESO_GENERATOR).state_dict()
    changed = [name for name in first if not torch.equal(first[name], trained[name])]
    assert {name for name in first if name.endswith("weight")} <= set(changed)


@pytest.mark.usefixtures("easy_pools")
def test_it_starts_from_weights_of_the_same_network(square_values, tmp_path):
    train(check_config(square_values(steps=2), ReliefConfig))
    weights = str(tmp_path / "run" / "weights.safetensors")
    again = check_config(square_values(init=weights), ReliefConfig)
    first = relief_recipe(again).network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in load_file(weights).items())
    with pytest.raises(TrainingError, match="does not fit the network to train"):
        relief_recipe(check_config(square_values(init=weights, network="paper", width=4), ReliefConfig))


@pytest.mark.usefixtures("easy_pools")
def test_other_squares_are_refused(square_values):
    train(check_config(square_values(steps=1), ReliefConfig))
    with pytest.raises(TrainingError, match=r"data: .*'squares': 7.*, now .*'squares': 9"):
        train(check_config(square_values(data=[{"kind": "skin", "squares": 9, "seed": 0}]), ReliefConfig))
