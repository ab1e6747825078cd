"""From a measured and textured face to predicted relief."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import mesoface.relief.predict as predict_module
from mesoface.config import Settings
from mesoface.errors import MesofaceError
from mesoface.files.weights import WeightsError
from mesoface.geometry.mesh import Mesh
from mesoface.relief.inputs import LARGEST, SMALLEST, high_pass, make_ground, relief_size, slopes
from mesoface.relief.network import FULL_SCALE_MM, learned_height, published_height
from mesoface.relief.predict import (
    FunctionPredictor,
    MesoRelief,
    add_relief,
    choose_predictor,
    load_predictor,
    predict_relief,
    why_no_relief,
)
from mesoface.texture import Texture
from mesoface.uvd.rasterize import grid_faces, texel_centers
from mesoface.uvd.space import UVDSpace

SIZE = 128


def surface(texel: float = 0.4):
    """A flat measured surface, facing +z, with a rim and a hole."""
    uv = texel_centers(SIZE)
    position = np.dstack([uv * SIZE * texel, np.zeros((SIZE, SIZE))]).astype(np.float32)
    normal = np.zeros_like(position)
    normal[..., 2] = 1
    kept = np.zeros((SIZE, SIZE), bool)
    kept[10:-10, 10:-10] = True
    kept[40:50, 40:60] = False
    space = UVDSpace(position, normal, kept)
    return SimpleNamespace(space=space, kept=kept, displacement=np.zeros((SIZE, SIZE), np.float32))


def texture(size: int = 256) -> Texture:
    return Texture(np.full((size, size, 3), 0.5, np.float32), np.ones((size, size), bool))


def view(pixel_mm: float, surface_at=(25, 25, 0)):
    camera = SimpleNamespace(
        center=np.array(surface_at) + np.array([0, 0, 1000.0]), K=np.diag([1000 / pixel_mm, 1, 1])
    )
    return SimpleNamespace(camera=camera)


@pytest.mark.parametrize(("pixel", "size"), [(0.4, 128), (0.25, 256), (0.2, 256), (0.1, 512)])
def test_texels_are_as_fine_as_the_photos(pixel, size, monkeypatch):
    monkeypatch.setattr("mesoface.relief.inputs.SMALLEST", 64)
    assert relief_size(surface(), [view(pixel)] * 3, 4096) == size


def test_the_size_has_bounds():
    assert relief_size(surface(), [view(50.0)], 4096) == SMALLEST
    assert relief_size(surface(), [view(0.001)], 8192) == LARGEST
    assert relief_size(surface(), [view(0.001)], 700) == 512


class Ripples:
    """A predictor that knows nothing of mesoface's."""

    source = "ripples"

    def height(self, ground, texture):
        return (0.02 * np.sin(2 * np.pi * np.arange(ground.size) / 6)[None] + 0 * ground.valid)[
            :, : self.columns
        ]


@pytest.mark.parametrize("columns", [256, 255])
def test_a_predictor_of_one_s_own(monkeypatch, columns):
    monkeypatch.setattr(predict_module, "relief_size", lambda *_: 256)
    own = Ripples()
    own.columns = columns
    if columns == 255:
        with pytest.raises(ValueError, match=r"must be \(256, 256\), ripples returned \(256, 255\)"):
            predict_relief(surface(), texture(), [], own)
    else:
        relief = predict_relief(surface(), texture(), [], own)
        assert relief.source == "ripples"
        assert relief.height.std() > 0.003


def test_predicted_relief_is_high_passed_and_inside(monkeypatch):
    monkeypatch.setattr(predict_module, "relief_size", lambda *_: 256)
    y, x = np.mgrid[:256, :256].astype(np.float32)
    wide = 0.1 * np.sin(x / 25)
    fine = 0.02 * np.sin(2 * np.pi * y / 6)
    relief = predict_relief(
        surface(),
        texture(),
        [],
        FunctionPredictor("shading", lambda ground, _: (wide + fine).astype(np.float32)),
    )
    assert (relief.size, relief.source) == (256, "shading")
    assert relief.texel_mm == pytest.approx(0.2, rel=0.01)
    assert not relief.height[~relief.valid].any()
    assert not relief.valid[85:95, 85:115].any()  # the hole
    inner = np.zeros_like(relief.valid)
    inner[160:210, 60:210] = True
    np.testing.assert_allclose(relief.height[inner], fine[inner], atol=0.004)
    rim = relief.valid & ~np.roll(relief.valid, 1, axis=0)
    assert np.abs(relief.height[rim]).max() < 0.5 * np.abs(fine).max()


def test_the_shipped_network_finds_bumps_that_light_shows(lit):
    """Slopes of bumps that were never measured, under a light that has to be told from the texture."""
    predictor = load_predictor("learned")
    told = high_pass(predictor.height(lit.ground, texture()), lit.ground.valid) / lit.ground.texel_mm
    true = high_pass(lit.missing, lit.ground.valid) / lit.ground.texel_mm
    inner = slice(20, -20)
    missing, left = (
        np.linalg.norm(np.stack(slopes(field)), axis=0)[inner, inner].mean() for field in (true, true - told)
    )
    assert left < 0.75 * missing


def test_bigger_maps_go_in_tiles_without_seams(lit, monkeypatch):
    predictor = load_predictor("learned")
    whole = predictor.height(lit.ground, texture())
    monkeypatch.setattr("mesoface.relief.network._TILE", 96)
    tiled = predictor.height(lit.ground, texture())
    assert np.abs(tiled - whole).max() < 0.05 * np.abs(whole).max()


def test_a_pattern_of_two_texels_is_not_let_through(lit):
    class Checkered(nn.Module):
        def forward(self, maps):
            rows, columns = torch.meshgrid(*map(torch.arange, maps.shape[2:]), indexing="ij")
            return 0.1 * (2.0 * ((rows + columns) % 2) - 1)[None, None]

    height = learned_height(lit.ground, Checkered(), "cpu")
    assert np.abs(height[4:-4, 4:-4]).max() < 1e-6


def test_ground_continues_beyond_the_rim():
    ground = make_ground(surface(), texture(), 256)
    assert np.isfinite(ground.position).all()
    assert np.abs(ground.position[..., 2]).max() < 1e-4
    assert ground.valid.sum() < 4 * surface().kept.sum()


def test_relief_moves_vertices_along_their_normals():
    uv = texel_centers(16).reshape(-1, 2)
    mesh = Mesh(np.column_stack([uv * 10, np.zeros(256)]), grid_faces(np.ones((16, 16), bool)), uv)
    height = np.full((16, 16), 0.25, np.float32)
    moved = add_relief(mesh, MesoRelief(height, np.ones((16, 16), bool), "learned", 0.6))
    np.testing.assert_allclose(moved.vertices - mesh.vertices, np.tile([0, 0, 0.25], (256, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="UV"):
        add_relief(Mesh(mesh.vertices, mesh.faces), MesoRelief(height, height > 0, "learned", 0.6))


def test_settings_choose_the_prediction(tmp_path):
    assert choose_predictor(Settings(meso="off")) is None
    assert choose_predictor(Settings(until="base")) is None
    assert choose_predictor(Settings(meso="shading")).source == "shading"
    assert choose_predictor(Settings()).source == "learned"
    assert "texture-size" in why_no_relief(Settings(texture_size=0))
    assert choose_predictor(Settings(texture_size=0)) is None
    assert "meso_generator" in why_no_relief(Settings(preset="paper", weights=tmp_path))
    assert why_no_relief(Settings(preset="paper", weights=tmp_path, meso="shading")) is None


def test_bad_weights_are_told_at_once(tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        load_predictor("learned", tmp_path / "nowhere.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="bad"):
        load_predictor("learned", bad)
    shipped = predict_module.files("mesoface") / "assets" / "surface_matcher.safetensors"
    with pytest.raises(MesofaceError, match="relief_generator"):
        load_predictor("learned", shipped)


class Brightness(nn.Module):
    """Answers with the red channel, and remembers what it saw."""

    def forward(self, maps):
        self.seen = maps
        return maps[:, :1]


def test_the_answer_lies_where_its_texture_was():
    """Window of a texture of 1024²: rows 12 to 961, columns 38 to 987."""
    y, x = np.mgrid[:1024, :1024].astype(np.float32)
    color = np.repeat((0.5 + 0.4 * np.sin(x / 60) * np.cos(y / 45))[..., None], 3, -1).astype(np.float32)
    network = Brightness()
    height = published_height(color, 1024, network, "cpu")
    assert network.seen.shape == (1, 3, 1024, 1024)
    expected = (color[..., 0] * 2 - 1) * FULL_SCALE_MM
    inside = np.zeros((1024, 1024), bool)
    inside[12:962, 38:988] = True
    assert not height[~inside].any()
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_allclose(height[core], expected[core], atol=2e-3)


def test_other_sizes_are_the_same_map():
    color = np.full((256, 256, 3), 0.75, np.float32)
    height = published_height(color, 512, Brightness(), "cpu")
    assert height.shape == (512, 512)
    np.testing.assert_allclose(height[20:-40, 30:-30], 0.5 * FULL_SCALE_MM, atol=1e-4)
