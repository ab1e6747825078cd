"""Files of a synthetic capture, errors, the capture that ships with the project; a head that moves: the same
person, rig and exposure in all frames, and a true surface for each.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.lists import read_capture_list
from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.face_models import load_face_model
from mesoface.files.meshes import read_mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.lab.synthesis.capture import (
    SyntheticCapture,
    photograph,
    photograph_sequence,
    synthesize,
    synthesize_sequence,
)
from mesoface.lab.synthesis.settings import SynthesisSettings

TINY = SynthesisSettings(views=2, width=96, height=144, detail_mm=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("synth") / "sample", seed=7, settings=TINY)


@pytest.fixture(scope="module")
def alone() -> SyntheticCapture:
    return photograph(seed=7, settings=TINY)


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again", seed=7, settings=TINY)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["0.jpg", "1.jpg", "gt.ply", "params.json", "truth.json"]
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_folder_is_a_capture_with_its_truth(folder: Path, alone: SyntheticCapture) -> None:
    capture = load_capture(folder)
    assert capture.format == "facescape"
    truth = read_mesh(folder / "gt.ply")
    np.testing.assert_allclose(truth.vertices, alone.truth.vertices, atol=1e-4)
    np.testing.assert_array_equal(truth.faces, alone.truth.faces)
    for view, camera in zip(capture.views, alone.cameras, strict=True):
        np.testing.assert_allclose(view.camera.center, camera.center, atol=1e-6)
        np.testing.assert_allclose(view.camera.R, camera.R, atol=1e-9)
        # The undistorted photo shows the face where its camera says.
        pixels, _ = view.camera.project(truth.vertices)
        last = [view.camera.width - 1, view.camera.height - 1]
        column, row = np.clip(np.round(pixels).astype(int), 0, last).T
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


@pytest.fixture(scope="module")
def frames():
    return list(photograph_sequence([0, 1, 12], seed=7, settings=TINY))


def test_the_first_frame_is_the_single_capture(frames, alone):
    np.testing.assert_allclose(frames[0].truth.vertices, alone.truth.vertices, atol=1e-9)
    for ours, theirs in zip(frames[0].photos, alone.photos, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_cameras_exposure_and_triangles_stay(frames):
    for frame in frames[1:]:
        assert frame.gain == frames[0].gain
        np.testing.assert_array_equal(frame.truth.faces, frames[0].truth.faces)
        for ours, theirs in zip(frame.cameras, frames[0].cameras, strict=True):
            np.testing.assert_array_equal(ours.R, theirs.R)
            np.testing.assert_array_equal(ours.K, theirs.K)


def test_it_moves_smoothly(frames):
    first, next_one, later = (frame.truth.vertices for frame in frames)
    step = np.linalg.norm(next_one - first, axis=1)
    assert np.median(step) > 0.02
    assert step.max() < 4.0
    assert np.linalg.norm(later - first, axis=1).max() > 2 * step.max()


def test_it_changes_its_expression_and_does_not_only_turn(frames):
    first, later = frames[0].truth.vertices, frames[2].truth.vertices
    a, b = first - first.mean(0), later - later.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    assert np.linalg.norm(a @ turn.T - b, axis=1).max() > 0.5


def test_a_frame_does_not_depend_on_the_others(frames):
    (alone,) = photograph_sequence([12], seed=7, settings=TINY)
    np.testing.assert_array_equal(alone.photos[0], frames[2].photos[0])


def test_noise_differs_from_frame_to_frame():
    still = TINY.model_copy(update={"expression": 0.0})
    first, second = photograph_sequence([0, 1], seed=7, settings=still, fps=1e6)
    assert (first.photos[0] != second.photos[0]).mean() > 0.2


def test_folders_and_their_list(tmp_path: Path):
    listed = synthesize_sequence(tmp_path / "video", 2, seed=7, settings=TINY, fps=25)
    folders = read_capture_list(listed)
    assert [folder.name for folder in folders] == ["000000", "000001"]
    assert len(load_capture(folders[1])) == 2
    assert json.loads((folders[1] / "truth.json").read_text())["frame"] == 1
    assert json.loads((tmp_path / "video" / "truth.json").read_text())["fps"] == 25


@pytest.mark.parametrize("values", [{"frames": 1}, {"frames": 2, "fps": 0.0}, {"frames": 2, "seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, values):
    with pytest.raises(MesofaceError):
        synthesize_sequence(tmp_path / "video", **{"seed": 1, "settings": TINY, **values})
    assert not list(tmp_path.iterdir())
