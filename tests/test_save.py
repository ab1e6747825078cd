"""Results on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import trimesh

from mesoface.errors import MesofaceError
from mesoface.evaluation import evaluate
from mesoface.export import ExportSource
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.results.face import load_face
from mesoface.results.write import write_record
from mesoface.save import check_target, save_face


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No report, whose pictures take seconds (tests/report looks at them), and fewer samples."""
    monkeypatch.setattr("mesoface.save.write_report", lambda path, *_: path.write_text("<html>"))
    monkeypatch.setattr("mesoface.save.evaluate", partial(evaluate, samples=5000))


def test_displacement_reproduces_the_fine_mesh(sample_face, tmp_path):
    """``position + normal · D``, the map read back from its file, is every vertex of the fine mesh."""
    save_face(sample_face, tmp_path / "face")
    fine = sample_face.fine
    displacement = read_exr(tmp_path / "face" / "displacement.exr")
    written = read_mesh(tmp_path / "face" / "fine.ply")
    size = len(displacement)
    column = np.round(written.uv[:, 0] * size - 0.5).astype(int)
    row = np.round((1 - written.uv[:, 1]) * size - 0.5).astype(int)
    moved = fine.space.displaced(displacement)[row, column]
    np.testing.assert_allclose(moved, written.vertices, atol=1e-3)
    np.testing.assert_array_equal(np.isfinite(displacement), fine.kept)
    assert np.abs(displacement[fine.kept]).max() > 0.1, "a displacement of nothing proves nothing"


def test_a_report_is_drawn_unless_it_is_not_wanted(sample_face, tmp_path):
    *_, last = save_face(sample_face, tmp_path / "with")
    lines = save_face(sample_face, tmp_path / "without", report=False)
    missing = {path.name for path in (tmp_path / "with").iterdir()}
    missing -= {path.name for path in (tmp_path / "without").iterdir()}
    assert missing == {"report.html"}
    assert last.startswith("report: ")
    assert not any(line.startswith("report: ") for line in lines)


def test_face_glb_is_the_face_in_metres_and_the_folder_can_be_exported(sample_face, tmp_path):
    save_face(sample_face, tmp_path / "face")
    scene = trimesh.load(tmp_path / "face" / "face.glb", process=False)
    assert scene.units == "meters"
    upright = ExportSource(sample_face).base.vertices
    np.testing.assert_allclose(scene.bounds * 1000, [upright.min(0), upright.max(0)], atol=2)
    assert upright[:, 2].argmax() in np.flatnonzero(np.linalg.norm(upright[:, :2], axis=1) < 40), "the nose"
    read, given = ExportSource(load_face(tmp_path / "face")), ExportSource(sample_face)
    off = np.linalg.norm(read.detail.surface - given.detail.surface, axis=-1)
    # base.obj is text: its rounding may decide whether a texel of the rim is inside, and carries relief.
    assert (off > 1e-3).mean() < 1e-5
    assert off.max() < 0.02
    np.testing.assert_array_equal(read.detail.measured, given.detail.measured)
    np.testing.assert_array_equal(read.facial, given.facial)
    assert (read.color is None) == (given.color is None)
    if given.color is not None:
        np.testing.assert_array_equal(read.color, given.color)


def test_the_region_covers_the_facial_mask_whether_measured_or_not(sample_face):
    measured = sample_face.region.face_areas().sum()
    holed = replace(sample_face.fine, kept=np.zeros_like(sample_face.fine.kept))
    assert replace(sample_face, fine=holed).region.face_areas().sum() == pytest.approx(measured)
    fitted = replace(sample_face, fine=None).region.face_areas().sum()
    assert measured == pytest.approx(fitted, rel=0.2)


@pytest.fixture
def face(sample_face):
    """The base alone."""
    return replace(sample_face, fine=None, texture=None, relief=None)


def test_a_known_truth_is_measured_and_put_into_words(face, tmp_path):
    truth = face.base.with_vertices(face.base.vertices + 0.3 * face.base.vertex_normals())
    lines = save_face(face, tmp_path / "face", truth=truth)
    evaluation = json.loads((tmp_path / "face" / "run.json").read_text())["evaluation"]
    assert evaluation["accuracy"]["median"] == pytest.approx(0.3, abs=0.03)
    assert any(line.startswith("error to the true surface: mean 0.") for line in lines)


def test_a_truth_elsewhere_does_not_cost_the_result(face, tmp_path):
    truth = face.base.with_vertices(face.base.vertices + 1000)
    lines = save_face(face, tmp_path / "face", truth=truth)
    assert any("not measured" in line and "frame" in line for line in lines)
    record = json.loads((tmp_path / "face" / "run.json").read_text())
    assert "evaluation" not in record
    assert "not measured" in record["warnings"][-1]


def test_an_older_result_is_replaced_whole(face, tmp_path):
    save_face(face, tmp_path / "face")
    (tmp_path / "face" / "fine.ply").write_text("of the older result")
    with pytest.raises(MesofaceError, match="exists already"):
        save_face(face, tmp_path / "face")
    save_face(face, tmp_path / "face", overwrite=True)
    assert not (tmp_path / "face" / "fine.ply").exists()
    read = load_face(tmp_path / "face")
    assert len(read.surface.faces) == len(face.base.faces)
    assert len(read.region.faces) == len(face.region.faces)


def test_the_record_is_plain_json_and_keeps_warnings(sample_face, tmp_path):
    face = replace(sample_face, warnings=("view 3: no face found",))
    write_record(tmp_path, face)
    record = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    assert record["warnings"] == ["view 3: no face found"]
    assert record["mm_per_unit"] == 1.0
    assert record["face_model"] == "generic"
    assert 0 < record["landmark_error_px"] < 20


def test_targets_beside_the_capture_are_good(tmp_path):
    (tmp_path / "capture").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("face", "capture-face", "a/b/face", "empty"):
        check_target(tmp_path / name, tmp_path / "capture", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["capture", "empty"], "only looked at"


def test_a_target_that_leads_into_the_capture_by_a_link_is_refused(tmp_path):
    (tmp_path / "capture").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "capture")
    with pytest.raises(MesofaceError, match="into the capture"):
        check_target(tmp_path / "link" / "face", tmp_path / "capture", overwrite=False)
