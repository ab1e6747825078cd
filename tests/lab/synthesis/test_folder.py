"""Files of a synthetic capture, errors of ``synthesize``, and the capture that ships with the project."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.meshes import read_mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.synthesis.capture import photograph, synthesize
from mesoface.lab.synthesis.settings import SynthesisSettings

TINY = SynthesisSettings(views=2, width=96, height=144, detail_mm=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("synth") / "sample", seed=7, settings=TINY)


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again", seed=7, settings=TINY)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["0.jpg", "1.jpg", "gt.ply", "params.json", "truth.json"]
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_folder_is_a_capture_with_its_truth(folder: Path) -> None:
    made = photograph(seed=7, settings=TINY)
    capture = load_capture(folder)
    assert capture.format == "facescape"
    truth = read_mesh(folder / "gt.ply")
    np.testing.assert_allclose(truth.vertices, made.truth.vertices, atol=1e-4)
    np.testing.assert_array_equal(truth.faces, made.truth.faces)
    for view, camera in zip(capture.views, made.cameras, strict=True):
        np.testing.assert_allclose(view.camera.center, camera.center, atol=1e-6)
        np.testing.assert_allclose(view.camera.R, camera.R, atol=1e-9)
        # The undistorted photo shows the face where its camera says.
        pixels, _ = view.camera.project(truth.vertices)
        column, row = np.clip(
            np.round(pixels).astype(int), 0, [view.camera.width - 1, view.camera.height - 1]
        ).T
        on_face = np.zeros(view.image.shape[:2], bool)
        on_face[row, column] = True
        redness = view.image[..., 0] - view.image[..., 2]
        assert redness[on_face].mean() > redness[~on_face].mean() + 0.05


def test_truth_json_says_how_it_was_made(folder: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["mm_per_unit"] == 1.0
    assert truth["seed"] == 7
    assert truth["model"] == "generic"
    assert truth["settings"]["views"] == 2
    assert truth["truth"]["vertices"] == len(read_mesh(folder / "gt.ply").vertices)


OUT_OF_RANGE = {"views": 1, "width": 0, "height": 100_000, "spread_deg": math.nan, "detail_mm": 0.0}


@pytest.mark.parametrize(("name", "value"), [*OUT_OF_RANGE.items(), ("jpeg_quality", 101), ("eyes", 3)])
def test_numbers_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(MesofaceError, match=name):
        SynthesisSettings(**{name: value})


def test_a_truth_is_no_finer_than_the_photographed_surface() -> None:
    with pytest.raises(MesofaceError, match="truth_mm"):
        SynthesisSettings(detail_mm=2.0, truth_mm=1.0)


def test_folder_in_the_way_is_kept(folder: Path) -> None:
    before = (folder / "0.jpg").read_bytes()
    with pytest.raises(MesofaceError, match="exists already"):
        synthesize(folder, seed=8, settings=TINY)
    assert (folder / "0.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("out", "wrong", "named"),
    [("out", {"seed": -1}, "seed"), ("out", {"model": "nobody.npz"}, "nobody"), ("file/out", {}, "file")],
)
def test_what_cannot_be_made_leaves_nothing(tmp_path: Path, out: str, wrong: dict, named: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MesofaceError, match=named):
        synthesize(tmp_path / out, **{"seed": 1, "settings": TINY, **wrong})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_model_without_landmarks_is_refused() -> None:
    model = load_face_model("generic")
    bare = replace(model, topology=replace(model.topology, landmark_ids={}))  # type: ignore[type-var]
    with pytest.raises(MesofaceError, match="landmarks"):
        photograph(seed=1, model=bare, settings=TINY)


SAMPLE = Path(__file__).resolve().parents[3] / "examples" / "sample_capture"


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 4e6


def test_sample_shows_its_truth() -> None:
    capture, truth = load_capture(SAMPLE), read_mesh(SAMPLE / "gt.ply")
    assert len(capture) == 8
    assert json.loads((SAMPLE / "truth.json").read_text())["truth"]["error_mm"]["mean"] < 0.02
    caster = RayCaster(truth)
    for view in capture.views:
        small = view.camera.scaled(0.25)
        skin = caster.render(small).hit.reshape(small.height, small.width)
        step = view.camera.width / small.width
        row, column = np.nonzero(skin)
        picked = view.image[(row * step).astype(int), (column * step).astype(int)]
        assert skin.mean() > 0.1
        # Skin is redder than blue all over; cloth and wall are grey.
        assert np.mean(picked[:, 0] > picked[:, 2] + 0.05) > 0.95
