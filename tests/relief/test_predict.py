"""From a measured and textured face to predicted relief."""

from __future__ import annotations

from dataclasses import replace
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
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.relief.inputs import LARGEST, SMALLEST, Ground, high_pass, make_ground, relief_size, slopes
from mesoface.relief.network import FULL_SCALE_MM, learned_height, published_height
from mesoface.relief.predict import (
    FunctionPredictor,
    MesoRelief,
    add_relief,
    choose_predictor,
    load_predictor,
    predict_relief,
    shading_height,
    skin_share,
    why_no_relief,
)
from mesoface.texture import Texture
from mesoface.uvd.maps import grid_faces, texel_centers
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


def view(pixel_mm: float, surface_at=(25, 25, 0), file_pixel_mm: float | None = None):
    """A photo from 1 m before the surface, and the larger one in its file."""
    R = np.diag([1.0, -1.0, -1.0])
    t = -R @ (np.array(surface_at) + (0, 0, 1000.0))
    camera = Camera(np.diag([1000 / pixel_mm, 1000 / pixel_mm, 1]), R, t, 100, 100)
    full = None
    if file_pixel_mm is not None:
        full = SimpleNamespace(camera=camera.scaled(pixel_mm / file_pixel_mm))
    return SimpleNamespace(camera=camera, full_size=full)


@pytest.mark.parametrize(("pixel", "size"), [(0.4, 128), (0.25, 256), (0.2, 256), (0.1, 512)])
def test_texels_are_as_fine_as_the_photos(pixel, size, monkeypatch):
    monkeypatch.setattr("mesoface.relief.inputs.SMALLEST", 64)
    assert relief_size(surface(), [view(pixel)] * 3, 4096) == size


def test_texels_are_as_fine_as_the_photos_in_the_files(monkeypatch):
    monkeypatch.setattr("mesoface.relief.inputs.SMALLEST", 64)
    assert relief_size(surface(), [view(0.4, file_pixel_mm=0.1)] * 3, 4096) == 512


def test_the_size_has_bounds():
    assert relief_size(surface(), [view(50.0)], 4096) == SMALLEST
    assert relief_size(surface(), [view(0.001)], 8192) == LARGEST
    assert relief_size(surface(), [view(0.001)], 700) == 512


class Ripples:
    """A predictor that knows nothing of mesoface's."""

    source = "ripples"

    def __init__(self, columns):
        self.columns = columns

    def height(self, ground, texture):
        ripples = 0.02 * np.sin(2 * np.pi * np.arange(self.columns) / 6)
        return np.broadcast_to(ripples, (ground.size, self.columns))


def test_a_predictor_of_one_s_own(monkeypatch):
    monkeypatch.setattr(predict_module, "relief_size", lambda *_: 256)
    relief = predict_relief(surface(), texture(), [], Ripples(256))
    assert relief.source == "ripples"
    assert relief.height.std() > 0.003
    with pytest.raises(ValueError, match=r"must be \(256, 256\), ripples returned \(256, 255\)"):
        predict_relief(surface(), texture(), [], Ripples(255))


def test_predicted_relief_is_high_passed_and_inside(monkeypatch):
    monkeypatch.setattr(predict_module, "relief_size", lambda *_: 256)
    y, x = np.mgrid[:256, :256].astype(np.float32)
    wide = 0.1 * np.sin(x / 25)
    fine = 0.02 * np.sin(2 * np.pi * y / 6)
    made = FunctionPredictor("shading", lambda ground, _: (wide + fine).astype(np.float32))
    relief = predict_relief(surface(), texture(), [], made)
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


SIDE, TEXEL = 160, 0.2
PLACE = np.mgrid[:SIDE, :SIDE].astype(np.float32) - SIDE / 2


def flat(luminance, tint=(1.0, 0.75, 0.65)) -> Ground:
    """A flat square of skin with the given sRGB level (H, W)."""
    rows, columns = PLACE * TEXEL
    position = np.stack([columns, -rows, np.zeros_like(rows)], -1).astype(np.float32)
    normal = np.broadcast_to(np.array([0, 0, 1], np.float32), position.shape).copy()
    color = np.clip(luminance[..., None] * np.array(tint), 0, 1).astype(np.float32)
    return Ground(position, position, normal, color, np.ones((SIDE, SIDE), bool), TEXEL)


def spot(radius: float, row: float = 0, column: float = 0):
    return np.exp(-((PLACE[0] - row) ** 2 + (PLACE[1] - column) ** 2) / radius**2)


def test_a_dark_pore_is_deep_and_a_bright_spot_high():
    ground = flat(0.6 - 0.08 * spot(2, 0, -30) + 0.08 * spot(2, 0, 30))
    height = high_pass(shading_height(ground), ground.valid)
    middle = SIDE // 2
    assert height[middle, middle - 30] < -0.01
    assert height[middle, middle + 30] > 0.01
    assert abs(height[middle + 40, middle]) < 0.002


def test_even_skin_has_no_relief():
    assert np.abs(shading_height(flat(np.full((SIDE, SIDE), 0.6)))).max() < 1e-5


def test_hair_and_lips_are_damped():
    dark = shading_height(flat(0.6 - 0.45 * spot(6)))
    skin = skin_share(flat(0.6 - 0.45 * spot(6)))
    middle = SIDE // 2
    assert skin[middle, middle] < 0.1
    assert skin[10, 10] > 0.9
    faint = shading_height(flat(0.6 - 0.1 * spot(6)))
    assert np.abs(dark[middle - 3 : middle + 3]).max() < np.abs(faint).max()

    red = flat(np.full((SIDE, SIDE), 0.6))
    lips = np.array([0.6, 0.3, 0.32], np.float32)
    color = red.color + spot(20)[..., None].astype(np.float32) * (lips - red.color)
    assert skin_share(replace(red, color=color))[middle, middle] < 0.2


def test_what_measured_form_explains_is_no_pit():
    """A neighbour that stands above the tangent plane counts less than one on it."""
    luminance = 0.6 - 0.08 * spot(2)
    ground = flat(luminance)
    cone = ground.position.copy()
    cone[..., 2] = 1.5 * np.hypot(*PLACE) * TEXEL
    middle = SIDE // 2, SIDE // 2
    on_plane, in_cone = (shading_height(g)[middle] for g in (ground, replace(ground, position=cone)))
    assert on_plane < in_cone <= 0


@pytest.mark.parametrize("sides", [(slice(0, 60), slice(None)), (slice(None), slice(100, None))])
def test_outside_of_the_skin_there_is_nothing(sides):
    ground = flat(0.6 - 0.08 * spot(2))
    valid = ground.valid.copy()
    valid[sides] = False
    assert not shading_height(replace(ground, valid=valid))[~valid].any()
