"""Pairs of texture and displacement map: found in both layouts, cut as they are, refused with the reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mesoface.errors import MesofaceError
from mesoface.files.images import encode_srgb
from mesoface.files.maps import DPMAP_SIZE, MIDDLE, encode_dpmap
from mesoface.files.meshes import read_mesh, write_obj
from mesoface.geometry.mesh import Mesh, unit
from mesoface.lab.training.config import ReliefConfig, TrainingError, check_config
from mesoface.lab.training.relief.pairs import cut_squares, find_pairs, read_pair
from mesoface.lab.training.relief.pool import open_pools
from mesoface.relief.inputs import CHANNELS, slopes
from mesoface.uvd.maps import texel_centers

SIDE_MM = 400.0  # of the whole unit square, so that a dpmap's texel has about 0.1 mm
SKIN = slice(1200, 2600)  # rows and columns of the dpmap that have relief
LAMP = unit(np.array([-0.6, 0.5, 0.7]))


def positions(uv: np.ndarray) -> np.ndarray:
    """(..., 2) → (..., 3) mm: part of a ball of 150 mm, looking along +z."""
    x, y = SIDE_MM * (uv[..., 0] - 0.46), SIDE_MM * (uv[..., 1] - 0.54)
    return np.stack([x, y, np.sqrt(np.maximum(150.0**2 - x**2 - y**2, 40.0**2))], -1)


def relief() -> np.ndarray:
    """(H, H) mm in our convention of rows: blobs of about a millimetre inside of ``SKIN``."""
    height = np.zeros((DPMAP_SIZE, DPMAP_SIZE), np.float32)
    n = SKIN.stop - SKIN.start
    noise = np.random.default_rng(0).normal(0, 1, (n, n)).astype(np.float32)
    blobs = cv2.GaussianBlur(noise, (0, 0), 4)
    height[SKIN, SKIN] = 0.03 * blobs / blobs.std() + 2e-4  # none of it is 32768
    return height


def save_dpmap(path: Path, height: np.ndarray) -> None:
    """As FaceScape has it: rows one lower."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lowered = np.concatenate([height[:1], height[:-1]])
    cv2.imwrite(str(path), encode_dpmap(lowered), [cv2.IMWRITE_PNG_COMPRESSION, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One pair with a mesh, lit by one lamp."""
    folder = tmp_path_factory.mktemp("pairs")
    height = relief()
    save_dpmap(folder / "a_dpmap.png", height)
    position = positions(texel_centers(1024))
    ground = unit(np.cross(np.gradient(position, axis=1), -np.gradient(position, axis=0)))
    small = cv2.resize(height, (1024, 1024), interpolation=cv2.INTER_AREA)
    bumpy = position + ground * small[..., None]
    normal = unit(np.cross(np.gradient(bumpy, axis=1), -np.gradient(bumpy, axis=0)))
    shade = 0.15 + 0.5 * np.maximum(normal @ LAMP, 0)
    color = encode_srgb((shade[..., None] * [0.6, 0.4, 0.3]).astype(np.float32))
    Image.fromarray(np.rint(color * 255).astype(np.uint8)).save(folder / "a_texture.png")
    uv = texel_centers(80).reshape(-1, 2)
    index = np.arange(80 * 80).reshape(80, 80)
    a, b, c, d = (part.ravel() for part in (index[1:, :-1], index[1:, 1:], index[:-1, 1:], index[:-1, :-1]))
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    write_obj(folder / "a.obj", Mesh(positions(uv), faces, uv))
    return folder


@pytest.fixture
def without_mesh(folder, tmp_path) -> Path:
    """A folder with the same pair and no mesh."""
    for name in ("a_texture.png", "a_dpmap.png"):
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


def test_a_pair_is_read_in_our_conventions(folder):
    (pair,) = find_pairs(folder)
    assert (pair.name, pair.mesh) == ("a", folder / "a.obj")
    maps = read_pair(pair, None)
    np.testing.assert_allclose(maps.height[1200:1210], relief()[1200:1210], atol=3e-5)
    rows = np.flatnonzero(maps.skin.any(1))
    assert (rows[0], rows[-1]) == (300, 649)
    assert maps.form is not None
    middle = maps.form.normal[470, 470]
    assert middle[2] > 0.95, "outward"
    assert maps.span_mm[470, 470] == pytest.approx(SIDE_MM, rel=0.02)
    assert maps.form.light is not None


def test_squares_hold_the_maps_relief_and_the_light_that_shows_it(folder):
    (pair,) = find_pairs(folder)
    squares = cut_squares(pair, 4, 48, 0.4, None, (1, 0))
    said = []
    for square in squares:
        assert square.maps.shape == (CHANNELS, 48, 48)
        assert square.valid.mean() >= 0.5
        along_columns, along_rows = slopes(square.relief)
        told = square.maps[3] * along_columns + square.maps[4] * along_rows
        inside = square.valid.copy()
        inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
        said.append(np.corrcoef(told[inside], square.maps[0][inside])[0, 1])
        # 0.03 mm in texels of 0.4, of which the measurement has missed most
        assert 0.1 < square.relief[square.valid].std() / (0.03 / 0.4) < 1.2
    assert np.mean(said) > 0.6, said


def test_a_square_is_a_matter_of_its_key(folder):
    (pair,) = find_pairs(folder)
    first = cut_squares(pair, 2, 32, 0.3, None, (1, 0))
    again = cut_squares(pair, 1, 32, 0.3, None, (1, 0))
    np.testing.assert_array_equal(first[0].maps, again[0].maps)
    assert not np.array_equal(first[0].maps, first[1].maps)


def test_without_a_mesh_the_light_is_not_known(without_mesh):
    (pair,) = find_pairs(without_mesh)
    with pytest.raises(TrainingError, match=r"no mesh beside the texture.*state map_texel_mm"):
        cut_squares(pair, 1, 32, 0.3, None, (0, 0))
    (square,) = cut_squares(pair, 1, 32, 0.3, 0.1, (0, 0))
    assert not square.maps[3:7].any()
    assert square.relief.any()


def test_squares_finer_than_the_maps_or_larger_than_the_skin_are_refused(folder):
    (pair,) = find_pairs(folder)
    with pytest.raises(TrainingError, match=r"has texels of 0\.\d+ mm; squares of 0.05 mm were requested"):
        cut_squares(pair, 1, 32, 0.05, None, (0, 0))
    with pytest.raises(TrainingError, match="shows too little skin for squares of 512 texels"):
        cut_squares(pair, 1, 512, 0.8, None, (0, 0))


@pytest.mark.parametrize("models", ["", "models_reg/"])
def test_facescapes_own_names(tmp_path, models):
    for person in ("1", "2"):
        base = tmp_path / person
        for name in (f"{models}1_neutral.jpg", f"{models}1_neutral.obj", "dpmap/1_neutral.png"):
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).touch()
    pairs = find_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["1/1_neutral", "2/1_neutral"]
    assert pairs[0].texture == tmp_path / "1" / f"{models}1_neutral.jpg"
    assert pairs[0].mesh == tmp_path / "1" / f"{models}1_neutral.obj"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "holds no pairs of texture and displacement map"),
        (["a_texture.jpg"], r"a_texture\.jpg: has no a_dpmap\.png beside it"),
        (["a_dpmap.png"], r"a_dpmap\.png: has no texture: a_texture\.jpg is missing"),
        (["dpmap/2_smile.png"], r"2_smile\.png: has no texture: \.\./2_smile\.jpg is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(TrainingError, match=said):
        find_pairs(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(TrainingError, match="none: no such folder of pairs"):
        find_pairs(tmp_path / "none")


def test_bad_maps_and_textures_are_refused_before_they_are_decoded(tmp_path):
    texture, dpmap = tmp_path / "b_texture.png", tmp_path / "b_dpmap.png"
    Image.new("RGB", (512, 512)).save(texture)
    Image.fromarray(np.full((1024, 1024), MIDDLE, np.uint16)).save(dpmap)
    (pair,) = find_pairs(tmp_path)

    def said() -> str:
        with pytest.raises(MesofaceError) as caught:
            cut_squares(pair, 1, 32, 0.3, 0.1, (0, 0))
        return str(caught.value)

    assert "b_dpmap.png: is 1024 × 1024 pixels, a dpmap has 4096 × 4096" in said()
    Image.new("L", (DPMAP_SIZE, DPMAP_SIZE), 128).save(dpmap)
    assert "b_dpmap.png: is no image of one 16-bit channel" in said()
    Image.fromarray(np.full((DPMAP_SIZE, DPMAP_SIZE), MIDDLE, np.uint16)).save(dpmap)
    assert "b_dpmap.png: shows too little skin" in said()
    Image.new("RGB", (600, 512)).save(texture)
    assert "b_texture.png: is 600 × 512 pixels; a texture over" in said()


def test_a_mesh_without_uvs_is_refused(without_mesh):
    (without_mesh / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (pair,) = find_pairs(without_mesh)
    with pytest.raises(TrainingError, match=r"a\.obj: the mesh has no UVs"):
        read_pair(pair, None)


def test_a_mesh_in_metres_is_refused(folder, without_mesh):
    mesh = read_mesh(folder / "a.obj")
    write_obj(without_mesh / "a.obj", mesh.with_vertices(mesh.vertices / 1000))
    (pair,) = find_pairs(without_mesh)
    with pytest.raises(TrainingError, match=r"too little skin .* and that the mesh is in millimetres"):
        cut_squares(pair, 1, 32, 0.3, None, (0, 0))


def test_a_pool_of_pairs_is_cut_by_worker_processes(folder, square_values, tmp_path):
    """Also that everything travels to them; another choice of squares is another pool."""
    source = {"kind": "pairs", "folder": str(folder), "squares": 3, "texel_mm": 0.3}
    config = check_config(square_values(data=[source]), ReliefConfig)
    (pool,) = open_pools(config.data, config)
    assert len(pool) == 3
    assert pool[2].maps.any()
    assert "3 squares of 1 pairs" in pool.contents
    (again,) = open_pools(config.data, config)
    assert again.contents == pool.contents
    assert len(list((tmp_path / "cache").iterdir())) == 1
