"""Results are read as they are; what is missing is said, what is broken refused."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
import trimesh

import mesoface
from mesoface.errors import MesofaceError
from mesoface.files.meshes import write_ply
from mesoface.relief.predict import MesoRelief
from mesoface.viewer.result import legend, read_result, shaded_glb, shadings
from tests.viewer.conftest import RADIUS, SIZE, ball_front


def test_a_result_is_read_with_its_photos(ball_run):
    result = read_result(ball_run.run)
    assert list(result.surfaces) == ["fine", "base"]
    for surface in result.surfaces.values():
        np.testing.assert_allclose(np.linalg.norm(surface.mesh.vertices, axis=1), RADIUS, atol=1e-3)
        np.testing.assert_allclose(surface.confidence, surface.mesh.uv[:, 0], atol=0.02)
        assert surface.errors is None
    assert result.texture.shape == (SIZE, SIZE, 3)
    capture = mesoface.load_capture(ball_run.capture)
    for view in capture.views:
        np.testing.assert_allclose(result.photos[view.name] / 255, view.image, atol=0.003)
    assert result.notes == ("no errors: the true surface is not known (--truth)",)


def test_a_detailed_mesh_comes_first_when_there_is_one(ball_run):
    flat = np.zeros((SIZE, SIZE), np.float32)
    ball_run.write(relief=MesoRelief(flat, flat == 0, "learned", 2.0))
    assert list(read_result(ball_run.run).surfaces) == ["detailed", "fine", "base"]


def test_errors_against_a_truth_given_now(ball_run, tmp_path):
    write_ply(tmp_path / "truth.ply", ball_front(RADIUS + 1))
    result = read_result(ball_run.run, truth=tmp_path / "truth.ply")
    for surface in result.surfaces.values():
        known = surface.errors[np.isfinite(surface.errors)]
        assert len(known) > 0.7 * len(surface.errors)
        np.testing.assert_allclose(known, 1, atol=0.02)


def test_errors_that_the_run_measured(ball_run):
    errors = np.arange(SIZE * SIZE, dtype=np.float64)
    ball_run.write(errors)
    result = read_result(ball_run.run)
    np.testing.assert_array_equal(result.surfaces["fine"].errors, errors)
    assert result.surfaces["base"].errors is None


def test_photos_that_are_gone_are_a_note_unless_asked_for(ball_run, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(ball_run.capture, moved)
    result = read_result(ball_run.run)
    assert result.photos == {}
    assert any("cameras without photos" in note and "--capture" in note for note in result.notes)
    assert len(read_result(ball_run.run, capture=moved).photos) == len(result.face.cameras.views)
    with pytest.raises(MesofaceError):
        read_result(ball_run.run, capture=tmp_path / "nowhere")


def test_a_photo_that_changed_is_not_shown(ball_run, drawn_rig):
    """The capture now has other photos, of another size, under the same names."""
    from mesoface.captures.formats import facescape

    rig = drawn_rig(4, size=(60, 80))
    shutil.rmtree(ball_run.capture)
    ball_run.capture.mkdir()
    facescape.write_photos(ball_run.capture, rig.photos, rig.cameras)
    result = read_result(ball_run.run)
    assert result.photos == {}
    assert sum("no longer the one" in note for note in result.notes) == 4


def test_a_run_that_stopped_at_the_base(ball_run):
    ball_run.write(fine=None)
    result = read_result(ball_run.run)
    assert list(result.surfaces) == ["base"]
    assert result.surfaces["base"].confidence is None


def test_a_folder_that_is_no_result_is_refused(tmp_path):
    with pytest.raises(MesofaceError, match=r"no run\.json"):
        read_result(tmp_path)


@pytest.fixture
def result(ball_run):
    errors = np.full((SIZE, SIZE), 0.04, np.float32)
    errors[:, : SIZE // 2] = np.nan
    ball_run.write(errors.ravel())
    return read_result(ball_run.run)


def loaded(result, shading):
    data = shaded_glb(result, result.surfaces["fine"], shading)
    return trimesh.load(io.BytesIO(data), file_type="glb", process=False).geometry.popitem()[1]


def test_there_are_as_many_shadings_as_there_is_something_to_show(result):
    every = ["clay", "normals", "texture", "confidence", "error"]
    assert shadings(result, result.surfaces["fine"]) == every
    assert shadings(result, result.surfaces["base"]) == every[:-1]


@pytest.mark.parametrize("shading", ["clay", "normals", "texture", "confidence", "error"])
def test_every_shading_is_the_surface_in_metres(result, shading):
    mesh = result.surfaces["fine"].mesh
    read = loaded(result, shading)
    np.testing.assert_allclose(read.vertices, mesh.vertices / 1000, atol=1e-6)
    np.testing.assert_array_equal(read.faces, mesh.faces)


def test_the_texture_is_in_the_file_the_right_way_up(result):
    read = loaded(result, "texture")
    np.testing.assert_allclose(read.visual.uv, result.surfaces["fine"].mesh.uv, atol=1e-6)
    image = np.asarray(read.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_allclose(image[5, 5], [255, 0, 0], atol=3)


def test_only_false_colours_have_a_bar(result):
    fine = result.surfaces["fine"]
    barred = [shading for shading in shadings(result, fine) if legend(fine, shading) is not None]
    assert barred == ["confidence", "error"]
