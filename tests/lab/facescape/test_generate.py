"""Captures as FaceScape publishes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.formats import facescape
from mesoface.errors import MesofaceError
from mesoface.lab.facescape.generate import generate, on_its_side, write_published
from mesoface.lab.facescape.settings import GeneratorSettings

LENS = (-0.2, 0.05, 0.004, -0.003, 0.01)
POINTS = np.random.default_rng(0).normal(0, 40, (50, 3))


@pytest.mark.parametrize("lens", [None, LENS])
def test_convention_a_camera_on_its_side_sees_the_turned_photo(drawn_rig, lens):
    rig = drawn_rig(2, lens=lens)
    photo, camera = on_its_side(rig.photos[0], rig.cameras[0])
    np.testing.assert_array_equal(photo, np.rot90(rig.photos[0], -1))
    assert (camera.width, camera.height) == (photo.shape[1], photo.shape[0])
    upright, turned = (c.project(POINTS) for c in (rig.cameras[0], camera))
    x, y = upright[0].T
    np.testing.assert_allclose(turned[0], np.column_stack([rig.cameras[0].height - 1 - y, x]), atol=1e-9)
    np.testing.assert_allclose(turned[1], upright[1])


@pytest.fixture
def written(drawn_rig, tmp_path: Path) -> Path:
    """Four photos as FaceScape publishes them."""
    rig = drawn_rig(4, lens=LENS)
    write_published(tmp_path, rig.photos, rig.cameras)
    return tmp_path


def test_params_have_all_published_keys(written: Path):
    params = json.loads((written / "params.json").read_text())
    keys = {"K", "Rt", "distortion", "width", "height", "matches", "valid", "sn", "ori"}
    assert set(params) == {f"{view}_{key}" for view in range(5) for key in keys}
    assert [params[f"{view}_valid"] for view in range(5)] == [True] * 4 + [False]
    assert sorted(file.name for file in written.glob("*.jpg")) == [f"{view}.jpg" for view in range(5)]


def test_the_reader_takes_it(written: Path):
    source = facescape.read(written)
    assert [view.name for view in source.views] == ["0", "1", "2", "3"]
    sizes = [(view.camera.width, view.camera.height) for view in source.views]
    assert sizes == [(96, 128), (96, 128), (128, 96), (96, 128)]
    assert source.notes == ("left out, marked invalid in params.json: 4",)
    assert source.mm_per_unit is None


@pytest.mark.parametrize(
    "wrong", [{"people": 0}, {"expressions": 21}, {"seed": -1}, {"views": 1}, {"width": 8}]
)
def test_impossible_numbers_are_refused(wrong: dict):
    with pytest.raises(MesofaceError):
        GeneratorSettings(**wrong)


def test_another_data_sets_folder_is_refused(tmp_path: Path):
    recipe = {"format": "mesoface generated FaceScape", "seed": 1}
    (tmp_path / "generated.json").write_text(json.dumps(recipe))
    with pytest.raises(MesofaceError, match="was made with other settings"):
        generate(tmp_path, GeneratorSettings(people=1, expressions=1))
