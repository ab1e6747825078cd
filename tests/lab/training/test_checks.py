"""A truth that is not what the photos show is refused, with the reason and the view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesoface.captures.capture import Capture
from mesoface.captures.load import load_capture
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.lab.training.checks import TruthError, check_truth
from mesoface.landmarks.types import Landmarks3D


@pytest.fixture(scope="module")
def capture(sample_capture: Path) -> Capture:
    return load_capture(sample_capture).select([1, 3, 4, 6])


@pytest.fixture(scope="module")
def truth(sample_capture: Path) -> Mesh:
    return read_mesh(sample_capture / "gt.ply")


def landmarks(points: np.ndarray) -> Landmarks3D:
    ones = np.ones((4, len(points)))
    return Landmarks3D(points, ones, 0 * ones, np.zeros(4, bool))


def test_the_truth_passes(capture: Capture, truth: Mesh) -> None:
    check_truth(capture, truth)
    near = truth.vertices[::40] + [0.0, 0.0, 6.0]
    near[0] = np.nan
    check_truth(capture, truth, landmarks(near))


def moved(truth: Mesh, *by: float) -> Mesh:
    return truth.with_vertices(truth.vertices + np.array(by))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda truth: truth.with_vertices(truth.vertices * 1e-3), r"0\.\d+ mm across.*--scale"),
        (lambda truth: truth.with_vertices(truth.vertices * 1e3), "across.*--scale"),
        (lambda truth: moved(truth, 0, 0, 3000.0), "behind view [1346]"),
        (lambda truth: moved(truth, 0, 900.0, 0), "view [1346] shows 0 % of the true surface"),
        (lambda truth: moved(truth, 0, 0, 4.0), "agree better 3 mm behind the true surface"),
        (lambda truth: moved(truth, 0, 0, -4.0), "agree better 3 mm before the true surface"),
        (lambda truth: moved(truth, 0, 0, 30.0), "agree better|agrees with no other"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:, ::-1]), "wound outward"),
        (lambda truth: Mesh(truth.vertices, truth.faces[:0]), "no faces"),
        (lambda truth: Mesh(truth.vertices * np.nan, truth.faces), "not finite"),
    ],
)
def test_another_surface_is_refused(
    capture: Capture, truth: Mesh, wrong: Callable[[Mesh], Mesh], says: str
) -> None:
    with pytest.raises(TruthError, match=says):
        check_truth(capture, wrong(truth))


def test_the_view_whose_photo_is_anothers_is_named(capture: Capture, truth: Mesh) -> None:
    views = list(capture.views)
    views[2] = replace(views[2], image=np.ascontiguousarray(views[2].image[::-1]))
    with pytest.raises(TruthError, match="view 4 agrees with no other"):
        check_truth(replace(capture, views=tuple(views)), truth)


def test_landmarks_of_another_face_are_told(capture: Capture, truth: Mesh) -> None:
    with pytest.raises(TruthError, match=r"landmarks are \d\d mm from"):
        check_truth(capture, truth, landmarks(truth.vertices[::40] + [0.0, 0.0, 30.0]))
