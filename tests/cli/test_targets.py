"""What the first release must reach on real data, as the command does it: a head scan and phone photos."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mesoface.captures.formats import colmap
from mesoface.evaluation import evaluate, points_to_mesh
from mesoface.evaluation.truth import GroundTruth
from mesoface.files.meshes import read_mesh
from mesoface.results.face import load_face

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scan(shared):
    """The head scan's capture; its world unit is the millimetre, which its layout cannot say."""
    return shared("captures/lps")


@pytest.fixture(scope="module")
def truth(scan):
    return GroundTruth(read_mesh(scan / "gt.ply"))


def error_of(out, truth, region=None):
    """The error of the result in ``out``, in its own facial region or in that of the result ``region``."""
    return evaluate(read_mesh(out / "fine.ply"), truth.with_region(load_face(region or out).region))


@pytest.fixture(scope="module")
def ten_views(command, scan, truth, tmp_path_factory):
    """The default run: its folder and its error."""
    out = tmp_path_factory.mktemp("scan") / "face"
    run = command("reconstruct", scan, "--out", out, "--scale", 1)
    assert run.code == 0, run.err
    return out, error_of(out, truth)


def test_ten_views(ten_views):
    out, error = ten_views
    assert error.accuracy.mean <= 0.12
    assert error.accuracy.median <= 0.06
    assert error.accuracy.within["0.2"] >= 0.85
    assert error.accuracy.normal_angle <= 9
    assert error.complete >= 0.97
    assert json.loads((out / "run.json").read_text())["warnings"] == []


def test_five_views(reconstruct, scan, truth, place):
    reconstruct(scan, "--scale", 1, "--views", 5)
    assert error_of(place / "face", truth).accuracy.mean <= 0.25


def test_the_ict_model_is_as_good(reconstruct, scan, truth, ten_views, shared, place, monkeypatch):
    monkeypatch.setenv("MESOFACE_ICT", str(shared("ict/ict_facekit_mm.npz")))
    reconstruct(scan, "--scale", 1, "--face-model", "ict")
    # The two models' facial regions differ: accuracy in one and the same, completeness in its own.
    error = error_of(place / "face", truth, region=ten_views[0])
    assert error.accuracy.mean <= 1.1 * ten_views[1].accuracy.mean
    assert error.accuracy.median <= 1.1 * ten_views[1].accuracy.median
    assert error_of(place / "face", truth).complete >= 0.97


def disturbed(scan, folder, change):
    """A copy of the scan's capture with its params.json changed."""
    shutil.copytree(scan, folder)
    params = json.loads((folder / "params.json").read_text())
    change(params)
    (folder / "params.json").write_text(json.dumps(params))
    return folder


def test_two_swapped_cameras_are_named_and_do_little(reconstruct, scan, truth, tmp_path, place):
    def swap(params):
        for key in ("K", "Rt", "distortion"):
            params[f"2_{key}"], params[f"7_{key}"] = params[f"7_{key}"], params[f"2_{key}"]

    capture = disturbed(scan, tmp_path / "capture", swap)
    record, run = reconstruct(capture, "--scale", 1)
    for view in ("2", "7"):
        assert any(line.startswith(f"warning: view {view} contradicts") for line in run.said), run.said
    assert record["capture"]["views"] == list("01345689")
    assert error_of(place / "face", truth).accuracy.mean <= 0.12


def test_one_camera_three_pixels_off_does_little(reconstruct, scan, truth, ten_views, tmp_path, place):
    def shift(params):
        params["4_K"][0][2] += 3.0

    capture = disturbed(scan, tmp_path / "capture", shift)
    reconstruct(capture, "--scale", 1)
    assert error_of(place / "face", truth).accuracy.mean <= 1.5 * ten_views[1].accuracy.mean


def test_phone_photos_without_a_flag(reconstruct, shared, place):
    capture = shared("captures/phone")
    run, _ = reconstruct(capture)
    assert run["capture"]["format"] == "colmap"
    assert run["scale"]["source"] in ("iris", "pupils", "iris and pupils")
    points = colmap.read_points(capture, max_error=1.0, min_track=3) * run["mm_per_unit"]
    stats = points_to_mesh(points, read_mesh(place / "face" / "fine.ply"))
    assert stats.count > 50
    assert stats.median <= 0.7
    extent = np.ptp(read_mesh(place / "face" / "fine.ply").vertices, axis=0)
    assert 120 < np.sort(extent)[-1] < 300, "a face in millimetres"
