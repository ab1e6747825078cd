"""The uncertainty of a surface in its files, its report and its viewer."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.files.maps import read_exr, write_exr
from mesoface.files.meshes import read_mesh
from mesoface.report.reconstruct_page import _facts, _files, _maps
from mesoface.results.face import Face, load_face
from mesoface.results.scene import face_shadings
from mesoface.surface.fine import fine_mesh
from mesoface.viewer.result import legend, read_result, shaded_glb, shadings
from tests.faces import dome, written


@pytest.fixture(scope="module")
def stated() -> Face:
    """The dome with uncertainties from 0.05 to 0.25 mm, left to right."""
    face = dome()
    fine = face.fine
    ramp = np.broadcast_to(np.linspace(0.05, 0.25, len(fine.kept), dtype=np.float32), fine.kept.shape)
    sigma = np.where(fine.measured, ramp, 0).astype(np.float32)
    surface = replace(fine.space, position=fine.space.displaced(fine.displacement))
    return replace(
        face,
        fine=replace(
            fine, uncertainty=sigma, mesh=fine_mesh(surface, fine.kept, fine.measured, uncertainty=sigma)
        ),
    )


@pytest.fixture
def folder(stated, tmp_path):
    return written(tmp_path / "face", stated)


def test_it_is_a_map_in_millimetres_and_nan_where_nothing_was_measured(stated, folder):
    found, fine = read_exr(folder / "uncertainty.exr"), stated.fine
    assert np.isnan(found[~fine.measured]).all()
    np.testing.assert_array_equal(found[fine.measured], fine.uncertainty[fine.measured])


def test_it_is_read_again(stated, folder):
    face = load_face(folder)
    np.testing.assert_array_equal(face.fine.uncertainty, stated.fine.uncertainty)
    np.testing.assert_allclose(face.fine.mesh.uncertainty, stated.fine.mesh.uncertainty, atol=1e-6)


def test_the_vertices_have_it_too(stated, folder):
    mesh = read_mesh(folder / "fine.ply")
    np.testing.assert_allclose(mesh.uncertainty, stated.fine.mesh.uncertainty, atol=1e-6)
    assert (mesh.uncertainty[~mesh.measured] == 0).all()
    assert (mesh.uncertainty[mesh.measured] > 0).all()
    half = mesh.select_faces(np.arange(len(mesh.faces)) % 2 == 0)
    assert len(half.uncertainty) == len(half.vertices)


def test_the_record_has_its_median_and_shares(stated, folder):
    sigma = stated.fine.uncertainty[stated.fine.measured]
    record = json.loads((folder / "run.json").read_text())["uncertainty"]
    assert record["median_mm"] == pytest.approx(np.median(sigma), abs=1e-4)
    assert record["within_0.1"] == pytest.approx((sigma <= 0.1).mean(), abs=1e-4)
    assert record["within_0.2"] == pytest.approx((sigma <= 0.2).mean(), abs=1e-4)


def test_a_result_without_it_has_neither_file_nor_figures(tmp_path):
    folder = written(tmp_path / "plain", dome())
    assert not (folder / "uncertainty.exr").exists()
    assert "uncertainty" not in json.loads((folder / "run.json").read_text())
    face = load_face(folder)
    assert face.fine.uncertainty is None
    assert read_mesh(folder / "fine.ply").uncertainty is None


def test_a_map_of_another_size_is_refused(folder):
    write_exr(folder / "uncertainty.exr", np.full((50, 50), 0.1, np.float32))
    with pytest.raises(MesofaceError, match="is 50², displacement"):
        _ = load_face(folder).fine


def test_the_report_shows_it(stated):
    plain = dome()
    for face, shown in ((stated, True), (plain, False)):
        assert ("uncertainty.exr" in [name for name, _ in _files(face, None)]) == shown
        assert any("median uncertainty" in what for _, what in _facts(face, None)) == shown
        assert any("Uncertainty" in caption for caption, _ in _maps(face)) == shown
        assert ("uncertainty" in [shading.name for shading in face_shadings(face)]) == shown


def test_the_viewer_shows_it(folder, stated):
    result = read_result(folder)
    surface = result.surfaces["fine"]
    assert "uncertainty" in shadings(result, surface)
    assert "uncertainty" not in shadings(result, result.surfaces["base"])
    assert np.isnan(surface.uncertainty[~surface.mesh.measured]).all()
    assert legend(surface, "uncertainty") is not None
    assert shaded_glb(result, surface, "uncertainty") != shaded_glb(result, surface, "confidence")
