"""inspect, evaluate, synth: what they say, write and refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mesoface.files.meshes import read_mesh, write_ply
from mesoface.geometry.mesh import Mesh


def patch(z: float = 0.0) -> Mesh:
    """A gently curved sheet of 60 × 60 mm at ``z``."""
    x, y = np.meshgrid(np.linspace(-30, 30, 31), np.linspace(-30, 30, 31), indexing="ij")
    points = np.stack([x, y, z + 0.002 * (x**2 - y**2)], -1).reshape(-1, 3)
    corner = (np.arange(30)[:, None] * 31 + np.arange(30)).ravel()
    a, b, c, d = corner, corner + 31, corner + 32, corner + 1
    return Mesh(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


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
