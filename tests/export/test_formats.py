"""A folder of exports, whole or not at all; a face in the frame and with the detail asked for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.export import FORMATS, ExportOptions, ExportSource, export_face
from mesoface.export.formats import check_export_folder, parse_formats
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.relief.predict import MesoRelief
from mesoface.results.face import load_face
from tests.faces import written


def test_all_formats_at_once_and_a_manifest(world_cap, tmp_path, monkeypatch):
    monkeypatch.setattr("mesoface.export.displacement.DPMAP_SIZE", 256)
    pytest.importorskip("pxr", reason="needs mesoface[usd]")
    steps = []
    lines = export_face(
        world_cap,
        tmp_path / "out",
        list(FORMATS),
        ExportOptions(edge_mm=4.0),
        progress=lambda label, done, total: steps.append((done, total)),
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("face.glb", "face.obj", "face.mtl", "face_color.png", "face_normal.png", "face.ply", "face.usdz"),
        *("displacement.exr", "displacement.png", "displacement.json", "dpmap.png"),
        *("normal_tangent.png", "normal_object.png", "base.obj", "base_fit.json", "export.json"),
    }
    manifest = json.loads((tmp_path / "out" / "export.json").read_text())
    assert set(manifest["files"]) == names - {"export.json"}
    assert manifest["units"]["glb"] == "m"
    np.testing.assert_allclose(manifest["world_mm"]["rotation"], world_cap.fit.rotation)
    assert all(any(name.split(".")[0] in line for line in lines) for name in ("face.glb", "dpmap.png"))
    assert steps[0] == (0, len(FORMATS))
    assert steps[-1] == (len(FORMATS), len(FORMATS))


def test_the_world_frame_is_the_captures(world_cap, tmp_path):
    export_face(world_cap, tmp_path / "out", ["base"], ExportOptions(frame="world"))
    mesh = read_mesh(tmp_path / "out" / "base.obj")
    np.testing.assert_allclose(mesh.vertices, world_cap.base.vertices, atol=1e-4)


def test_a_failing_format_leaves_nothing(world_cap, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "png", replace(FORMATS["png"], write=fail))
    with pytest.raises(MesofaceError, match="disk is full"):
        export_face(world_cap, tmp_path / "a" / "out", ["exr", "png"])
    assert not list(tmp_path.iterdir())


def test_an_older_export_is_replaced_whole(world_cap, tmp_path):
    export_face(world_cap, tmp_path / "out", ["exr"])
    with pytest.raises(MesofaceError, match="exists already"):
        export_face(world_cap, tmp_path / "out", ["base"])
    export_face(world_cap, tmp_path / "out", ["base"], overwrite=True)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"base.obj", "base_fit.json", "export.json"}


def test_what_was_not_measured_is_refused_before_anything_is_written(world_cap, tmp_path):
    face = replace(world_cap, fine=None)
    with pytest.raises(MesofaceError, match="exr, dpmap: this run stopped at the base"):
        export_face(face, tmp_path / "out", ["glb", "exr", "dpmap"])
    assert not list(tmp_path.iterdir())


def test_names_of_formats():
    assert parse_formats(" GLB, obj,glb,") == ["glb", "obj"]
    pytest.importorskip("pxr", reason="needs mesoface[usd]")
    assert parse_formats("all") == list(FORMATS)


@pytest.mark.parametrize("names", ["", " , ", "fbx", "glb,obj.gz"])
def test_unknown_formats_are_refused_with_the_known_ones(names):
    with pytest.raises(MesofaceError, match="glb, obj, ply"):
        parse_formats(names)


def test_targets(tmp_path):
    run = tmp_path / "runs" / "face"
    run.mkdir(parents=True)
    for good in (tmp_path / "new", run / "export"):
        check_export_folder(good, run)
    for bad in (run, run.parent, tmp_path):
        with pytest.raises(MesofaceError, match="replace the result"):
            check_export_folder(bad, run)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg").touch()
    with pytest.raises(MesofaceError, match="no folder of exports"):
        check_export_folder(tmp_path / "photos", run)


@pytest.mark.parametrize("edge", [0, -1, float("nan"), float("inf")])
def test_an_edge_that_is_no_length_is_refused(edge):
    with pytest.raises(ValueError, match="edge_mm"):
        ExportOptions(edge_mm=edge)


def test_convention_an_upright_face_looks_along_z_with_y_up(world_cap, upright_cap):
    middle = np.linalg.norm(upright_cap.base.uv - 0.5, axis=1).argmin()
    np.testing.assert_allclose(upright_cap.base.vertices[middle], (0, 0, 80), atol=1e-9)
    top = upright_cap.base.vertices[upright_cap.base.uv[:, 1] > 0.9]
    assert top[:, 1].min() > 30
    left = upright_cap.base.vertices[upright_cap.base.uv[:, 0] > 0.9]  # the subject's
    assert left[:, 0].min() > 30
    rotation, translation = upright_cap.world
    back = upright_cap.base.vertices @ rotation.T + translation
    np.testing.assert_allclose(back, world_cap.base.vertices, atol=1e-9)
    detail, fine = upright_cap.detail, world_cap.fine
    np.testing.assert_array_equal(detail.measured, fine.kept)
    distance = np.linalg.norm(detail.surface[fine.kept], axis=1)
    np.testing.assert_allclose(distance, 80 + fine.displacement[fine.kept], atol=1e-3)


def test_a_face_that_was_read_again_is_exported_as_the_one_in_memory(world_cap, upright_cap, tmp_path):
    reread = ExportSource(load_face(written(tmp_path / "run", world_cap)))
    np.testing.assert_allclose(reread.base.vertices, upright_cap.base.vertices, atol=1e-4)
    for name in ("displacement", "surface", "position"):
        np.testing.assert_allclose(getattr(reread.detail, name), getattr(upright_cap.detail, name), atol=1e-3)
    np.testing.assert_array_equal(reread.detail.measured, upright_cap.detail.measured)
    np.testing.assert_array_equal(reread.color, upright_cap.color)
    np.testing.assert_array_equal(reread.facial, upright_cap.facial)


def test_a_run_that_stopped_at_the_base_has_no_detail(base_only):
    assert base_only.detail is None
    assert base_only.color is None


def test_predicted_relief_is_read_and_may_be_left_out(world_cap, tmp_path):
    height = np.full((64, 64), 0.05, np.float32)
    height[:5] = 0
    relief = MesoRelief(height, height > 0, "learned", 1.7)
    face = load_face(written(tmp_path / "run", replace(world_cap, relief=relief)))
    np.testing.assert_array_equal(face.relief.height, height)
    files = {}
    for detail in ("all", "measured"):
        export_face(face, tmp_path / detail, ["exr"], ExportOptions(detail=detail))
        files[detail] = read_exr(tmp_path / detail / "displacement.exr")
        said = json.loads((tmp_path / detail / "export.json").read_text())["detail"]
        assert said == ("measured and predicted" if detail == "all" else "measured")
    difference = files["all"] - files["measured"]
    assert np.median(difference) == pytest.approx(0.05, abs=1e-4)
    assert ExportSource(face, ExportOptions(detail="measured")).detail.size == 128
