"""Cameras from landmarks alone, where the face and the cameras are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mesoface.calibration.landmark_bundle import adjust_to_landmarks, solve_by_landmarks
from mesoface.errors import ReconstructionError
from mesoface.geometry.alignment import align_points
from mesoface.landmarks import Landmarks2D


def _shape_error(rig, bundle) -> float:
    shown = (rig.landmarks.weights > 0.3).sum(0) >= 2
    motion = align_points(bundle.points[shown], rig.points[shown])
    return float(np.linalg.norm(motion.apply(bundle.points[shown]) - rig.points[shown], axis=1).mean())


@pytest.mark.parametrize("focal", [800.0, 1800.0, 4300.0])
def test_cameras_are_found_from_nothing_but_landmarks(face_rig: Callable, focal: float) -> None:
    rig = face_rig(focal=focal)
    bundle, _ = adjust_to_landmarks(rig.photos, rig.landmarks, np.zeros(7, np.int64))
    assert _shape_error(rig, bundle) < 0.8
    turns = np.stack([a.R for a in rig.cameras]) @ np.swapaxes(bundle.R, 1, 2)
    between = turns @ turns[3].T  # of each view against the middle one: the world itself is free
    angles = np.degrees(np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angles.max() < 3


def test_an_exif_focal_length_is_kept_to(face_rig: Callable) -> None:
    rig = face_rig(views=3, arc=30.0)
    photos = [replace(photo, focal=1800.0) for photo in rig.photos]
    bundle, _ = adjust_to_landmarks(photos, rig.landmarks, np.zeros(3, np.int64))
    assert abs(bundle.focal[0] / 1800 - 1) < 0.1


def test_every_photo_may_have_its_own_camera(face_rig: Callable) -> None:
    rig = face_rig()
    bundle, (expected, _) = adjust_to_landmarks(rig.photos, rig.landmarks, np.arange(7))
    assert bundle.focal.shape == expected.shape == (7,)
    assert _shape_error(rig, bundle) < 0.8


def test_a_photo_without_a_face_says_so(face_rig: Callable) -> None:
    rig = face_rig(views=4)
    weights = rig.landmarks.weights.copy()
    weights[1:3] = 0
    with pytest.raises(ReconstructionError, match="2 photos show the face well enough, at least 3"):
        solve_by_landmarks(rig.photos, Landmarks2D(rig.landmarks.points, weights), np.zeros(4, np.int64))
