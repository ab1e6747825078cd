"""inspect, evaluate, synth, export, convert, schema, view: what they print, write and refuse."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import trimesh

from mesoface.captures.formats import read_source
from mesoface.files.maps import write_exr
from mesoface.files.meshes import read_mesh, write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.results.face import load_face
from mesoface.uvd.maps import grid_faces, texel_centers
from tests.faces import dome, made_face, written


def patch(z: float = 0.0) -> Mesh:
    """A gently curved sheet of 60 × 60 mm at ``z``."""
    x, y = np.meshgrid(np.linspace(-30, 30, 31), np.linspace(-30, 30, 31), indexing="ij")
    points = np.stack([x, y, z + 0.002 * (x**2 - y**2)], -1).reshape(-1, 3)
    return Mesh(points, grid_faces(np.ones((31, 31), bool)))


@pytest.fixture
def sheets(tmp_path):
    write_ply(tmp_path / "ours.ply", patch(0.25))
    write_ply(tmp_path / "truth.ply", patch())
    return tmp_path / "ours.ply", tmp_path / "truth.ply"


def test_evaluate_prints_the_error_as_table_and_as_json(command, sheets, place):
    table = command("evaluate", *sheets, "--samples", 5000)
    assert table.code == 0
    assert "ours → truth 0.2" in table.out
    run = command("evaluate", *sheets, "--samples", 5000, "--json", "--heatmap", place / "error.ply")
    result = json.loads(run.out)
    assert result["accuracy"]["median"] == pytest.approx(0.25, abs=0.01)
    assert read_mesh(place / "error.ply").faces.shape == read_mesh(sheets[0]).faces.shape


def test_evaluate_refuses_what_it_cannot_compare(sheets, tmp_path, sample_capture, place, refused):
    ours, truth = sheets
    refused("nowhere.ply", "evaluate", tmp_path / "nowhere.ply", truth)
    refused("error.jpg", "evaluate", ours, truth, "--heatmap", place / "error.jpg")
    refused("region.ply", "evaluate", ours, truth, "--region", tmp_path / "region.ply")
    refused("--align", "evaluate", ours, truth, "--align", "affine")
    refused("run.json", "evaluate", sample_capture, truth)
    far = tmp_path / "far.ply"
    write_ply(far, patch(500.0))
    line = refused(truth, "evaluate", ours, truth, "--region", far)
    assert str(ours) in line


def test_inspect_reports_every_view_and_writes_a_page(command, copy_sample, place):
    copy = copy_sample(["3", "4"])
    run = command("inspect", copy, "--html", place / "page.html")
    assert run.code == 0, run.err
    assert "2 views, 2 usable" in run.out
    page = (place / "page.html").read_text()
    assert page.count("data:image/") >= 2
    assert [path.name for path in place.iterdir()] == ["page.html"]


def test_inspect_refuses_a_page_where_none_can_be(copy_sample, place, command):
    (place / "file").write_text("")
    run = command("inspect", copy_sample(["3", "4"]), "--html", place / "file" / "page.html")
    assert run.code == 2
    assert len(run.said) == 1
    assert "page.html" in run.said[0]
    assert [path.name for path in place.iterdir()] == ["file"]


SMALL = ("--views", 2, "--width", 96, "--height", 144, "--detail", 5, "--seed", 4)


def test_synth_makes_a_capture_of_the_asked_size(command, place):
    options = ("--truth-detail", 10, "--jpeg-quality", 80)
    assert command("synth", "--out", place / "head", *SMALL, *options).code == 0
    said = json.loads((place / "head" / "truth.json").read_text())["settings"]
    asked = {"views": 2, "width": 96, "height": 144, "detail_mm": 5, "truth_mm": 10, "jpeg_quality": 80}
    assert {name: said[name] for name in asked} == asked
    assert [path.name for path in place.iterdir()] == ["head"]

    refusal = command("synth", "--out", place / "head", *SMALL)
    assert refusal.code == 2
    assert "--overwrite" in refusal.err
    assert command("synth", "--out", place / "head", *SMALL, "--overwrite").code == 0


def test_synth_replaces_synthetic_captures_only(copy_sample, place, refused):
    copy = copy_sample(["3", "4"])
    before = sorted(copy.folder.iterdir())
    refused("truth.json", "synth", "--out", copy, *SMALL, "--overwrite")
    assert sorted(copy.folder.iterdir()) == before
    (place / "file").write_text("")
    refused("file", "synth", "--out", place / "file", *SMALL)


def test_synth_refuses_bad_numbers_and_models(place, refused):
    for option, value in (("--views", 1), ("--spread", 400), ("--detail", 0), ("--jpeg-quality", 0)):
        refused(option, "synth", "--out", place / "head", option, value)
    refused("--truth-detail 1.0", "synth", "--out", place / "head", "--detail", 2, "--truth-detail", 1)
    refused("nobody", "synth", "--out", place / "new" / "head", "--face-model", "nobody")


@pytest.fixture
def base_run(tmp_path):
    """A result that stopped at the base mesh: a sheet of 160 mm."""
    uv = texel_centers(12).reshape(-1, 2)
    sheet = Mesh(np.column_stack([160 * uv, np.zeros(len(uv))]), grid_faces(np.ones((12, 12), bool)), uv)
    return written(tmp_path / "run", made_face(sheet, name="sheet"))


def test_a_base_run_is_exported_without_colour_and_that_is_said(command, base_run, place):
    outcome = command("export", base_run, "--to", "glb,base", "--out", place / "out")
    assert outcome.code == 0, outcome.err
    assert "face.glb" in outcome.out
    assert "without colour" in outcome.out
    assert {p.name for p in (place / "out").iterdir()} == {
        *("face.glb", "base.obj", "base_fit.json", "export.json")
    }
    scene = trimesh.load(place / "out" / "face.glb", process=False)
    assert scene.extents[:2].max() == pytest.approx(0.16 * 11 / 12, rel=1e-5)


def test_glb_is_the_default_and_detail_edge_makes_it_finer(command, base_run, place):
    sizes = []
    for number, options in enumerate(([], ["--detail-edge", "6"])):
        outcome = command("export", base_run, "--out", place / str(number), *options)
        assert outcome.code == 0, outcome.err
        sizes.append((place / str(number) / "face.glb").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_export_refuses_in_one_line(refused, base_run, place, tmp_path):
    out = ("--out", place / "out")
    assert "no run.json" in refused(place, "export", place, *out)
    assert "--to takes glb" in refused("fbx", "export", base_run, "--to", "fbx", *out)
    assert "base mesh" in refused("exr", "export", base_run, "--to", "exr", *out)
    refused("--detail-edge", "export", base_run, "--detail-edge", "-1", *out)
    refused("million triangles", "export", base_run, "--detail-edge", "0.01", *out)
    refused("replace the result", "export", base_run, "--out", base_run)
    refused("replace the result", "export", base_run, "--out", tmp_path, "--overwrite")
    (base_run / "base_fit.npz").unlink()
    assert "base_fit.npz" in refused(base_run, "export", base_run, *out)


def test_export_refuses_a_target_that_cannot_be_written(refused, base_run, place):
    (place / "file").write_text("in the way")
    refused(place / "file", "export", base_run, "--out", place / "file" / "out")


def test_convert_writes_the_capture_and_says_what_is_lost(command, copy_sample, place):
    copy = copy_sample()
    run = command("convert", copy, place / "plain", "--to", "plain")
    assert (run.code, run.out.splitlines()[0]) == (0, f"{place / 'plain'}: 4 views as plain")
    content = json.loads((place / "plain/capture.json").read_text())
    content["mm_per_unit"] = 1.0
    (place / "plain/capture.json").write_text(json.dumps(content))
    run = command("convert", place / "plain", place / "colmap", "--to", "colmap", "--undistort")
    assert "colmap cannot state the unit: pass --scale 1 to mesoface" in run.out
    source = read_source(place / "colmap")
    assert [view.name for view in source.views] == copy.views
    assert all(view.camera.lens is None for view in source.views)


def test_convert_refuses_in_one_line_and_leaves_nothing(copy_sample, place, refused):
    copy = copy_sample()
    refused("no format 'usd' to write", "convert", copy, place / "new", "--to", "usd")
    refused("lies in the capture", "convert", copy, copy.folder / "inside", "--to", "plain")
    copy.photo("3").unlink()
    refused("3.jpg: the image is missing", "convert", copy, place / "new", "--to", "plain")


def test_schema_is_json_that_describes_the_file(command):
    run = command("schema")
    assert run.code == 0
    assert json.loads(run.out)["properties"]["format"]["const"] == "mesoface-capture"


def test_view_refuses_a_folder_that_is_no_result(refused, tmp_path):
    pytest.importorskip("viser", reason="needs the extra mesoface[view]")
    refused("no run.json", "view", tmp_path)


def test_view_without_viser_says_what_to_install(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "viser", None)
    monkeypatch.delitem(sys.modules, "mesoface.viewer.server", raising=False)
    line = refused("viser", "view", tmp_path)
    assert "mesoface[view]" in line
    assert "report.html" in line


def test_evaluate_compares_halves(command, sample_capture, place):
    quick = ("--matcher", "ncc", "--preset", "fast", "--scale", 1, "--samples", 5000)
    out, heat = place / "halves", place / "heat.ply"
    options = ("--split", "consecutive", "--out", out, "--heatmap", heat, "--json")
    run = command("evaluate", "--halves", sample_capture, *quick, *options)
    assert run.code == 0, run.err
    figures = json.loads(run.out)
    assert figures["views"] == {"first": ["0", "1", "2", "3"], "second": ["4", "5", "6", "7"]}
    assert figures["difference"]["align"] == "none"
    assert figures == json.loads((out / "halves.json").read_text())
    assert len(read_mesh(heat).colors) == len(read_mesh(heat).vertices)
    assert load_face(out / "second").record["settings"]["matcher"] == "ncc"


def test_evaluate_refuses_halves_that_it_cannot_make(sheets, copy_sample, sample_capture, place, refused):
    ours, truth = sheets
    assert "4 are needed" in refused("3 usable views", "evaluate", "--halves", copy_sample(["1", "3", "4"]))
    refused("PREDICTION", "evaluate", ours, truth, "--halves", sample_capture)
    refused("--region", "evaluate", "--halves", sample_capture, "--region", truth)
    refused("--split", "evaluate", "--halves", sample_capture, "--split", "random")
    refused("nowhere", "evaluate", "--halves", place / "nowhere")
    refused("the capture", "evaluate", "--halves", sample_capture, "--out", sample_capture / "halves")
    (place / "old").mkdir()
    (place / "old/notes.txt").touch()
    refused("exists already", "evaluate", "--halves", sample_capture, "--out", place / "old")
    overwrite = ("--out", place / "old", "--overwrite")
    refused("halves.json", "evaluate", "--halves", sample_capture, *overwrite)


def test_evaluate_says_what_is_missing_and_what_is_for_halves_only(sheets, refused, place):
    ours, truth = sheets
    assert "--halves CAPTURE" in refused("PREDICTION and TRUTH missing", "evaluate")
    refused("TRUTH missing", "evaluate", ours)
    refused("--out is for --halves", "evaluate", ours, truth, "--out", place / "out")
    refused("--matcher is for --halves", "evaluate", ours, truth, "--matcher", "ncc")
    refused("--memory is for --halves", "evaluate", ours, truth, "--memory", 512)


def test_evaluate_reports_a_stated_uncertainty(command, tmp_path, refused):
    face = dome()
    folder = written(tmp_path / "face", face)
    fine = face.surface
    write_ply(tmp_path / "truth.ply", fine.with_vertices(fine.vertices - 0.1 * fine.vertex_normals()))
    evaluation = ("evaluate", folder, tmp_path / "truth.ply", "--samples", 5000)
    assert "uncertainty" not in command(*evaluation).out
    assert json.loads(command(*evaluation, "--json").out)["uncertainty"] is None

    sigma = np.where(face.fine.kept, 0.06, 0).astype(np.float32)
    write_exr(folder / "uncertainty.exr", sigma)
    stated = json.loads(command(*evaluation, "--json").out)["uncertainty"]
    assert stated["within_1"] < 0.1
    assert stated["within_2"] > 0.9
    assert stated["error"] == pytest.approx(0.1, rel=0.1)
    assert "stated uncertainty: " in command(*evaluation).out

    write_exr(folder / "uncertainty.exr", sigma[:50, :50])
    assert "does not fit the surface" in refused(folder, *evaluation)
    write_exr(folder / "uncertainty.exr", -sigma)
    assert "is negative" in refused(folder, *evaluation)
    write_exr(folder / "uncertainty.exr", 0 * sigma)
    assert "no place has both" in refused(folder, *evaluation)


def test_evaluate_shows_the_cheeks_of_a_result(command, sample_face, sample_capture, tmp_path):
    folder = written(tmp_path / "face", sample_face)
    evaluation = ("evaluate", folder, sample_capture / "gt.ply", "--samples", 5000)
    run = command(*evaluation)
    assert "cheeks, waves of" in run.out
    bands = json.loads(command(*evaluation, "--json").out)["cheeks"]
    assert [(band["low"], band["high"]) for band in bands] == [(0.6, 1.2), (1.2, 3), (3, 6), (6, 12)]
    wide = bands[-1]
    assert 0.01 < wide["other"] < 0.1
    assert wide["shared"] > 0.7
    assert wide["difference"] < wide["other"]
