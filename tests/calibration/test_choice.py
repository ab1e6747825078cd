"""Which of many photos are taken, where features may be, and settings out of range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mesoface.calibration.face_prior import choose_photos
from mesoface.calibration.features import head_mask
from mesoface.calibration.settings import CalibrationSettings
from mesoface.errors import MesofaceError
from mesoface.landmarks import Landmarks2D


def _chosen(rig, sharpness: np.ndarray, count: int) -> list[int]:
    return choose_photos(rig.landmarks, np.array([photo.size for photo in rig.photos]), sharpness, count)


def test_chosen_photos_are_spread_over_the_arc(face_rig: Callable) -> None:
    chosen = _chosen(face_rig(views=21), np.ones(21), 5)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 20, 5)
    assert set(np.diff(chosen)) <= {4, 5, 6}


def test_blurred_photos_are_passed_over(face_rig: Callable) -> None:
    chosen = _chosen(face_rig(views=21), np.where(np.arange(21) % 3 == 0, 0.1, 1.0), 5)
    assert all(v % 3 != 0 for v in chosen)
    assert chosen[0] <= 2
    assert chosen[-1] >= 18


def test_photos_without_a_face_are_not_chosen(face_rig: Callable) -> None:
    rig = face_rig(views=5)
    weights = rig.landmarks.weights.copy()
    weights[2] = 0
    points = np.where(weights[..., None] > 0, rig.landmarks.points, np.nan)
    assert 2 not in _chosen(replace(rig, landmarks=Landmarks2D(points, weights)), np.ones(5), 4)


def test_the_mask_takes_in_the_head_and_leaves_the_background(face_rig: Callable) -> None:
    points = face_rig(views=3).landmarks.points[1]
    mask = head_mask(points, 640, 960)
    inside = np.rint(points).astype(int)
    assert mask[inside[:, 1], inside[:, 0]].all()
    assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 0.1 < mask.mean() < 0.6


@pytest.mark.parametrize(
    "wrong", [{"method": "magic"}, {"cameras": "both"}, {"max_photos": 2}, {"threads": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(MesofaceError):
        CalibrationSettings(**wrong)
