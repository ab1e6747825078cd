"""A head that moves: the same person, rig and exposure in all frames, and a true surface for each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.lists import read_capture_list
from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.lab.synthesis.capture import photograph, photograph_sequence, synthesize_sequence
from mesoface.lab.synthesis.settings import SynthesisSettings

SETTINGS = SynthesisSettings(views=2, width=96, height=144, detail_mm=3.0)


@pytest.fixture(scope="module")
def frames():
    return list(photograph_sequence([0, 1, 12], seed=7, settings=SETTINGS))


def test_the_first_frame_is_the_single_capture(frames):
    alone = photograph(seed=7, settings=SETTINGS)
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
    (alone,) = photograph_sequence([12], seed=7, settings=SETTINGS)
    np.testing.assert_array_equal(alone.photos[0], frames[2].photos[0])


def test_noise_differs_from_frame_to_frame():
    still = SynthesisSettings(views=2, width=96, height=144, detail_mm=3.0, expression=0.0)
    first, second = photograph_sequence([0, 1], seed=7, settings=still, fps=1e6)
    assert (first.photos[0] != second.photos[0]).mean() > 0.2


def test_folders_and_their_list(tmp_path: Path):
    listed = synthesize_sequence(tmp_path / "video", 2, seed=7, settings=SETTINGS, fps=25)
    folders = read_capture_list(listed)
    assert [folder.name for folder in folders] == ["000000", "000001"]
    assert len(load_capture(folders[1])) == 2
    assert json.loads((folders[1] / "truth.json").read_text())["frame"] == 1
    assert json.loads((tmp_path / "video" / "truth.json").read_text())["fps"] == 25


@pytest.mark.parametrize("values", [{"frames": 1}, {"frames": 2, "fps": 0.0}, {"frames": 2, "seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, values):
    with pytest.raises(MesofaceError):
        synthesize_sequence(tmp_path / "video", **{"seed": 1, "settings": SETTINGS, **values})
    assert not list(tmp_path.iterdir())
