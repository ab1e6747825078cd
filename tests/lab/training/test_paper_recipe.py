"""The published networks' training: what they are shown, what they are trained to, and that they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mesoface.errors import MesofaceError
from mesoface.files.weights import WeightsCard
from mesoface.lab.training.checkpoint import save_tensors
from mesoface.lab.training.config import MatchingConfig, RegularizerConfig, check_config
from mesoface.lab.training.paper_recipe import (
    SIGMA,
    TEXEL_MM,
    MatchingRecipe,
    RegularizerRecipe,
    as_in_photos,
    at_texels,
    costs_of,
    draw_points,
    paper_recipe,
    scene_of,
    visible_steps,
)
from mesoface.lab.training.patches import patch_tile
from mesoface.matching.paper import STEP_MM, ImplicitFunction, Regularizer
from mesoface.matching.paper.network import project

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tile():
    return patch_tile(np.random.default_rng(2), 32)


class Oracle(nn.Module):
    """In the implicit function's place: knows a plane of truth, and answers as it should be trained to."""

    def __init__(self, truth_mm: float):
        super().__init__()
        self.truth = truth_mm
        self.scale = nn.Parameter(torch.ones(1))
        self.image_filter = nn.Conv2d(3, 1, 1)

    def forward(self, features, projections, points, displacements):
        off = displacements * 100 - self.truth / STEP_MM  # steps
        return (self.scale * torch.exp(-0.5 * (off / SIGMA) ** 2)).float()


@pytest.fixture
def plane(tile):
    """The tile with a truth that is everywhere the same: ``plane(0.4)``, mm in the paper's scale."""

    def make(truth: float):
        height = np.full_like(tile.truth, truth * tile.texel_mm / TEXEL_MM)
        return replace(tile, truth=height, visibility=np.ones_like(tile.visibility))

    return make


def test_a_scene_is_the_tile_at_the_papers_scale(tile):
    """Blocks of two by two texels; what a texel projects to stays where it is, at half the resolution."""
    scene = scene_of(tile, CPU)
    assert scene.position.shape == (16, 16, 3)
    spacing = (scene.position[:, 1:] - scene.position[:, :-1]).norm(dim=-1).median()
    assert 0.7 < spacing / (2 * TEXEL_MM) < 1.4
    block = tile.position[6:8, 4:6].reshape(-1, 3).mean(0)
    for image, P, old in zip(scene.images, scene.projections, tile.projections, strict=True):
        x = old @ [*block, 1]
        np.testing.assert_allclose(2 * project(P, scene.position[3, 2][None])[0], x[:2] / x[2], atol=1e-3)
        assert image.max() > 1.5, "0 to 255"
    np.testing.assert_allclose(
        scene.images[0][:, 5, 7] / 255, tile.images[0][5, 7, ::-1].astype(np.float32), atol=1e-6
    )
    truth = tile.truth[6:8, 4:6].mean() * scene.scale
    np.testing.assert_allclose(scene.truth[3, 2], truth, atol=1e-5)


def test_truth_that_two_views_do_not_see_is_not_known(tile):
    visibility = tile.visibility.copy()
    visibility[1:, :2] = 0
    truth = tile.truth.copy()
    truth[10, 10] = np.nan
    known = scene_of(replace(tile, visibility=visibility, truth=truth), CPU).known
    assert not known[0].any()
    assert not known[5, 5]
    assert known[8:].any()


def test_in_larger_photos_a_texel_has_its_colour(tile):
    """Framed, and transposed in some draws: projections go with the photos."""
    transposed = set()
    for seed in range(6):
        framed = as_in_photos(tile, np.random.default_rng(seed))
        for view, (old, new) in enumerate(zip(tile.images, framed.images, strict=True)):
            assert new.size > old.size
            x, y = pixel(tile.projections[view], tile.position[9, 9])
            u, v = pixel(framed.projections[view], tile.position[9, 9])
            np.testing.assert_array_equal(old[y, x], new[v, u])
            transposed.add(np.array_equal(old[y + 1, x], new[v, u + 1]))
    assert transposed == {True, False}


def pixel(projection, point):
    x = projection @ [*point, 1]
    return np.rint(x[:2] / x[2]).astype(int)


def test_points_are_around_the_surface_and_over_the_whole_range(tile):
    scene = scene_of(tile, CPU)
    texels, displacement = draw_points(scene, np.random.default_rng(0), 5000)
    assert scene.known.flatten()[texels].all()
    assert displacement.abs().max() <= scene.range_mm
    off = (displacement - scene.truth.flatten()[texels])[:4000] / STEP_MM
    assert 8 < off.std() < 12
    assert 0.45 < (off > 0).double().mean() < 0.55, "inside and outside balanced"
    assert displacement[-500:].abs().max() > 0.8 * scene.range_mm


def test_the_cost_is_trained_to_a_gaussian_around_the_truth(plane, monkeypatch):
    """An answer that is one has no error, wherever the base is; one for another truth has."""
    flat = plane(0.4)
    monkeypatch.setattr("mesoface.lab.training.paper_recipe._BASE_ERROR_MM", 0.0)
    right, _ = MatchingRecipe(Oracle(0.4), augment=False).loss(flat, np.random.default_rng(0))
    wrong, parts = MatchingRecipe(Oracle(-0.6), augment=False).loss(flat, np.random.default_rng(0))
    assert right < 1e-9
    assert wrong > 0.02
    assert parts["knowing_nothing"] > 0.05


def test_the_base_lies_elsewhere_in_each_loss(plane):
    """The displacement input is counted from another zero each time, so that all of its range is learned."""
    recipe = MatchingRecipe(Oracle(0.0), augment=False)
    losses = [recipe.loss(plane(0.0), np.random.default_rng(seed))[1]["cost"] for seed in range(6)]
    assert min(losses) < 0.5 * max(losses)


def test_a_tile_without_truth_trains_nothing(tile):
    recipe = MatchingRecipe(ImplicitFunction(), augment=False, points=64)
    unknown = replace(tile, truth=np.full_like(tile.truth, np.nan))
    loss, _ = recipe.loss(unknown, np.random.default_rng(0))
    loss.backward()
    assert loss == 0
    gradients = [p.grad for p in recipe.network.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)


def test_prediction_is_in_the_tiles_own_millimetres(plane, tile):
    flat = plane(0.4)
    expected = 0.4 * tile.texel_mm / TEXEL_MM
    displacement, score = MatchingRecipe(Oracle(0.4)).predict(flat)
    assert displacement.shape == score.shape == tile.truth.shape
    np.testing.assert_allclose(displacement, expected, atol=0.02 * expected)
    np.testing.assert_allclose(score, 1, atol=1e-3)


def test_the_regularizer_learns_to_read_the_volume(plane, a_few_steps):
    """From scores without preference to the peak that the costs have, in a few steps on one tile."""
    torch.manual_seed(0)
    recipe = RegularizerRecipe(Regularizer(), augment=False, function=Oracle(0.8))
    flat = plane(0.8)
    optimizer = torch.optim.Adam(recipe.network.parameters(), 0.05)
    losses = a_few_steps(recipe, flat, optimizer)
    assert losses[-1] < 0.3 * losses[0]
    assert recipe.function.scale.grad is None, "the implicit function stays"
    recipe.network.eval()
    displacement, confidence = recipe.predict(flat)
    assert displacement.shape == confidence.shape == flat.truth.shape
    assert 0 <= confidence.min() <= confidence.max() <= 1 + 1e-5


class Geometer(nn.Module):
    """In the implicit function's place: the point's distance from the tile's base, in steps."""

    def __init__(self, scene):
        super().__init__()
        self.image_filter = nn.Conv2d(3, 1, 1)
        self.scene = scene

    def forward(self, features, projections, points, displacements):
        off = points - self.scene.position.flatten(0, 1)
        return (off * self.scene.normal.flatten(0, 1)).sum(1) / STEP_MM


class Reader(nn.Module):
    """In the regulariser's place: keeps what it is shown, and answers the truth of a tile of zeros."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.bases = []

    def forward(self, volume, steps, mask):
        base = volume[0, 0, :, 0, 0] - steps[0]  # where it is counted from
        torch.testing.assert_close(base, base.round()[:1].expand_as(base), atol=1e-3, rtol=0)
        self.bases.append(round(float(base[0])))
        return -base[0].float() * mask + self.bias


def test_the_regularizer_sees_windows_around_other_bases(plane):
    flat = plane(0.0)
    scene = scene_of(flat, CPU)
    recipe = RegularizerRecipe(Reader(), augment=False, function=Geometer(scene))
    losses = [float(recipe.loss(flat, np.random.default_rng(seed))[0].detach()) for seed in range(12)]
    assert max(losses) < 1e-6, "the truth is counted from the window's base"
    assert len(set(recipe.network.bases)) > 5
    assert min(recipe.network.bases) < 0 < max(recipe.network.bases)


def test_steps_are_what_the_photos_show_and_the_regularizer_takes(tile):
    scene = scene_of(tile, CPU)
    steps = visible_steps(scene)
    assert len(steps) % 4 == 1
    assert steps[-1] * STEP_MM <= scene.range_mm
    assert scene.range_mm - steps[-1] * STEP_MM < 2 * STEP_MM
    costs = costs_of(Oracle(0.0), scene, steps)
    assert costs.shape == (len(steps), 16, 16)


def test_maps_of_the_papers_grid_come_back_to_the_texels():
    ramp = np.tile(np.arange(8, dtype=np.float32) * 2 + 0.5, (8, 1))  # of texels in blocks of two
    np.testing.assert_allclose(at_texels(ramp, 16)[:, 2:-2], np.tile(np.arange(16.0), (16, 1))[:, 2:-2])


def test_loss_is_the_same_for_the_same_state_of_chance(tile):
    torch.manual_seed(0)
    recipe = MatchingRecipe(ImplicitFunction(), points=64)
    losses = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        losses.append(float(recipe.loss(recipe.prepare(tile, rng), rng)[0].detach()))
    assert losses[0] == losses[1]


def test_recipes_from_a_configuration(values, tmp_path):
    function = paper_recipe(check_config(values(network="paper"), MatchingConfig)).network
    assert isinstance(function, ImplicitFunction)
    path = tmp_path / "weights.safetensors"
    save_tensors(path, function.state_dict())
    again = paper_recipe(check_config(values(network="paper", init=str(path)), MatchingConfig))
    torch.testing.assert_close(again.network.state_dict(), function.state_dict())
    config = check_config(values(network="paper", matching=str(path)), RegularizerConfig)
    second = paper_recipe(config)
    assert isinstance(second, RegularizerRecipe)
    assert isinstance(second.network, Regularizer)
    assert not second.function.training
    torch.testing.assert_close(second.function.state_dict(), function.state_dict())


def test_refused(values, tile, tmp_path):
    with pytest.raises(MesofaceError, match="matching: the paper's regulariser is trained on the costs"):
        paper_recipe(check_config(values(network="paper"), RegularizerConfig))
    path = tmp_path / "weights.safetensors"
    save_tensors(path, Regularizer().state_dict())
    card = WeightsCard(network="regularizer", ngf=None, parameters=1, source="x", source_sha256="0" * 64)
    (tmp_path / "card.json").write_text(card.model_dump_json())
    config = check_config(values(network="paper", matching=str(path)), RegularizerConfig)
    with pytest.raises(MesofaceError, match="is of the regularizer, the implicit_function was expected"):
        paper_recipe(config)
    odd = replace(tile, truth=tile.truth[:20, :20])
    with pytest.raises(MesofaceError, match="divisible by 8, this one has 20"):
        scene_of(odd, CPU)
