"""``mesoface reconstruct`` on the sample capture: what it writes, says, and how right it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mesoface.evaluation import evaluate
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.results.files import FORMAT

BASE = {
    *("base.obj", "base_fit.npz", "cameras.json", "face.glb", "landmarks.npz", "region.ply"),
    *("report.html", "run.json"),
}
FINE = {
    *(
        "confidence.png",
        "measured.png",
        "detailed.ply",
        "displacement.exr",
        "fine.ply",
        "meso.exr",
        "space.npz",
        "uncertainty.exr",
    ),
    *("texture.png", "texture_seen.png"),
}


@pytest.fixture(scope="module")
def result(command_alone, sample_capture, tmp_path_factory):
    """The folder of a quick run, and what the command said."""
    out = tmp_path_factory.mktemp("result") / "face"
    options = ["--scale", 1, "--preset", "fast", "--threads", 2]
    run = command_alone("reconstruct", sample_capture, "--out", out, *options)
    assert run.code == 0, run.err
    return out, run


@pytest.fixture(scope="module")
def out(result):
    return result[0]


def test_nothing_of_the_laboratory_is_loaded(result):
    loaded = result[1].loaded
    assert "mesoface.pipeline" in loaded
    assert not [name for name in loaded if name.startswith("mesoface.lab")]


def test_what_was_measured_has_an_uncertainty_and_nothing_else(out):
    from PIL import Image

    sigma = read_exr(out / "uncertainty.exr")
    measured = np.asarray(Image.open(out / "measured.png")) > 0
    assert (sigma[measured] > 0).all()
    assert np.isnan(sigma[~measured]).all()


def test_all_files_are_written_and_nothing_else(out):
    assert {path.name for path in out.iterdir()} == BASE | FINE
    assert [path.name for path in out.parent.iterdir()] == ["face"]


def test_the_summary_is_short_and_on_stdout(result):
    out, run = result
    lines = run.out.splitlines()
    assert lines[0] == "views: 0, 1, 2, 3, 4, 5, 6, 7"
    assert lines[1] == "scale: 1 mm per world unit, from given"
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert len(lines) <= 6
    assert not run.said, "no warnings on a good capture"


def test_the_surface_is_right_and_whole(out, sample_capture):
    """Bounds that matching must work for: the fitted base alone is off by about a millimetre."""
    truth, region = read_mesh(sample_capture / "gt.ply"), read_mesh(out / "region.ply")
    error = evaluate(read_mesh(out / "fine.ply"), truth, region=region, samples=20_000)
    assert error.accuracy.mean < 0.06
    assert error.accuracy.median < 0.04
    assert error.accuracy.normal_angle < 3
    assert error.complete > 0.95


def test_the_python_interface_makes_the_very_same_face(out, sample_face):
    """And so do two runs of one capture with other numbers of threads, but for the network's rounding."""
    fine, same = read_mesh(out / "fine.ply"), sample_face.fine.mesh
    assert len(fine.vertices) == pytest.approx(len(same.vertices), rel=1e-4)
    apart, _ = cKDTree(same.vertices).query(fine.vertices)
    assert np.percentile(apart, 95) < 1e-4
    assert apart.max() < 5e-3
    # The refinement stops its iterations at a tolerance, on which rounding acts: within a micrometre.
    np.testing.assert_allclose(read_mesh(out / "base.obj").vertices, sample_face.base.vertices, atol=1e-3)


def test_run_json_says_how_the_face_was_made(out):
    run = json.loads((out / "run.json").read_text())
    assert run["format"] == FORMAT
    assert run["unit"] == "mm"
    assert run["mm_per_unit"] == 1.0
    assert run["scale"] == {"source": "given", "relative_uncertainty": 0.0}
    assert run["settings"]["preset"] == "fast"
    assert run["settings"]["scale"] == 1.0
    assert run["capture"]["format"] == "facescape"
    assert run["capture"]["views"] == list("01234567")
    assert {"numpy", "torch", "mediapipe", "opencv-contrib-python"} <= set(run["packages"])
    assert [stage["name"] for stage in run["stages"]] == [
        "loading",
        "landmarks",
        "views and scale",
        "base mesh",
        "matching",
        "surface",
        "texture",
        "mesoscopic detail",
        "files and report",
    ]
    for stage in run["stages"]:
        assert stage["seconds"] >= 0
        assert 50 < stage["peak_mb"] <= run["peak_mb"]
    assert run["seconds"] == pytest.approx(sum(stage["seconds"] for stage in run["stages"]), abs=0.01)
    assert run["warnings"] == []
    assert run["surface"]["vertices"] == len(read_mesh(out / "fine.ply").vertices)
    assert 0 <= run["surface"]["left_out"] < 0.1


def test_displacement_leads_from_the_base_to_the_fine_mesh(out):
    """Written base mesh, moved outward by the displacement in millimetres, is the written fine mesh."""
    from mesoface.geometry.closest_point import MeshSurface

    displacement, fine = read_exr(out / "displacement.exr"), read_mesh(out / "fine.ply")
    size = len(displacement)
    column = np.round(fine.uv[:, 0] * size - 0.5).astype(int)
    row = np.round((1 - fine.uv[:, 1]) * size - 0.5).astype(int)
    d = displacement[row, column]
    assert np.isfinite(d).all(), "every vertex has a displacement"
    assert np.isfinite(displacement).sum() >= len(d)
    base = MeshSurface(read_mesh(out / "base.obj"))
    closest = base.closest(fine.vertices[::7])
    side = np.einsum("nk,nk->n", fine.vertices[::7] - closest.points, base.normals(closest))
    signed = np.copysign(closest.distance, side)
    inner = ~base.on_boundary(closest)
    assert np.abs(signed - d[::7])[inner].mean() < 0.1
    assert np.corrcoef(signed[inner], d[::7][inner])[0, 1] > 0.8


def test_confidence_is_a_grey_picture_of_the_same_grid(out):
    from PIL import Image

    confidence = np.asarray(Image.open(out / "confidence.png"))
    kept = np.isfinite(read_exr(out / "displacement.exr"))
    assert confidence.shape == kept.shape
    assert confidence.dtype == np.uint8
    assert not confidence[~kept].any()
    assert np.median(confidence[kept]) > 64


def test_what_was_measured_is_a_picture_and_a_flag(out):
    from PIL import Image

    picture, fine = np.asarray(Image.open(out / "measured.png")), read_mesh(out / "fine.ply")
    kept = np.isfinite(read_exr(out / "displacement.exr"))
    assert picture.shape == kept.shape
    assert set(np.unique(picture)) == {0, 255}
    assert not picture[~kept].any()
    size = len(picture)
    column = np.round(fine.uv[:, 0] * size - 0.5).astype(int)
    row = np.round((1 - fine.uv[:, 1]) * size - 0.5).astype(int)
    np.testing.assert_array_equal(picture[row, column] == 255, fine.measured)
    np.testing.assert_array_equal(read_mesh(out / "detailed.ply").measured, fine.measured)
    assert not np.asarray(Image.open(out / "confidence.png"))[picture == 0].any()


def test_the_report_is_one_file(out):
    page = (out / "report.html").read_text()
    assert "sample_capture" in page
    assert page.count('src="data:image/') >= 8 + 4
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_evaluate_measures_the_result_in_its_own_region(out, command, tmp_path):
    """Against itself, moved by 0.1 mm: the folder brings surface and region along."""
    from dataclasses import replace

    from mesoface.files.meshes import write_ply

    fine = read_mesh(out / "fine.ply")
    write_ply(tmp_path / "truth.ply", replace(fine, vertices=fine.vertices + 0.1 * fine.normals))
    run = command("evaluate", out, tmp_path / "truth.ply", "--samples", 5000, "--json")
    assert json.loads(run.out)["accuracy"]["bias"] == pytest.approx(-0.1, abs=0.02)


def test_until_base_and_view_ids(reconstruct, sample_capture, place):
    record, _ = reconstruct(sample_capture, "--scale", 1, "--until", "base", "--view-ids", "5, 2,3")
    assert {path.name for path in (place / "face").iterdir()} == BASE
    assert sorted(record["capture"]["views"]) == ["2", "3", "5"]
    assert record["settings"]["view_ids"] == ["5", "2", "3"]
    assert "surface" not in record


def test_fewer_views_are_chosen_around_the_face(reconstruct, sample_capture):
    record, _ = reconstruct(sample_capture, "--scale", 1, "--until", "base", "--views", 3)
    views = record["capture"]["views"]
    assert len(views) == 3
    assert int(views[0]) <= 2
    assert int(views[2]) >= 5


def test_without_a_scale_the_eyes_give_it(reconstruct, sample_capture):
    record, run = reconstruct(sample_capture, "--until", "base", "--view-ids", "2,3,4,5")
    assert record["scale"]["source"] == "iris and pupils"
    assert record["mm_per_unit"] == pytest.approx(1, rel=3 * record["scale"]["relative_uncertainty"])
    assert f"scale: {record['mm_per_unit']:.6g} mm per world unit" in run.out
