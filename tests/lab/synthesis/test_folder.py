"""What ``synthesize`` leaves on disk, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.files.meshes import read_mesh
from mesoface.lab.synthesis.capture import SyntheticCapture, photograph
from mesoface.lab.synthesis.folder import synthesize
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("views", 1),
        ("width", 0),
        ("height", 100_000),
        ("spread_deg", float("nan")),
        ("detail_mm", 0.0),
        ("jpeg_quality", 101),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(MesofaceError, match=name):
        synthesize(tmp_path / "out", seed=1, settings=SynthesisSettings(**{name: value}))
    assert not list(tmp_path.iterdir())


def test_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MesofaceError, match="seed"):
        synthesize(tmp_path / "out", seed=-1, settings=TINY)


def test_folder_in_the_way_is_kept(folder: Path) -> None:
    before = (folder / "0.jpg").read_bytes()
    with pytest.raises(MesofaceError, match="exists already"):
        synthesize(folder, seed=8, settings=TINY)
    assert (folder / "0.jpg").read_bytes() == before


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MesofaceError, match="file"):
        synthesize(tmp_path / "file" / "out", seed=1, settings=TINY)


def test_unknown_model_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MesofaceError, match="nobody"):
        synthesize(tmp_path / "out", seed=1, model="nobody.npz", settings=TINY)
    assert not list(tmp_path.iterdir())


def test_model_without_landmarks_is_refused(synthetic: SyntheticCapture) -> None:
    from dataclasses import replace

    from mesoface.face_models import load_face_model

    model = load_face_model("generic")
    bare = replace(model, topology=replace(model.topology, landmark_ids={}))  # type: ignore[type-var]
    with pytest.raises(MesofaceError, match="landmarks"):
        photograph(seed=1, model=bare, settings=TINY)
