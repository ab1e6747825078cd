"""Bundle adjustment finds cameras that are known, with priors or from a face's landmarks alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mesoface.calibration.bundle import Bundle, Observations, Priors, adjust, cost, residuals
from mesoface.calibration.features import head_mask
from mesoface.calibration.landmark_bundle import adjust_to_landmarks, choose_photos, solve_by_landmarks
from mesoface.calibration.settings import CalibrationSettings
from mesoface.config import make
from mesoface.errors import MesofaceError, ReconstructionError
from mesoface.geometry.alignment import align_points
from mesoface.landmarks import Landmarks2D


def _true_bundle(rig) -> Bundle:
    views = len(rig.cameras)
    return Bundle(
        R=np.stack([camera.R for camera in rig.cameras]),
        t=np.stack([camera.t for camera in rig.cameras]),
        camera_of=np.zeros(views, np.int64),
        focal=np.array([rig.cameras[0].K[0, 0]]),
        radial=np.zeros(1),
        center=np.stack([camera.K[:2, 2] for camera in rig.cameras]),
        points=rig.points,
    )


def _seen(rig, sigma: float = 0.3) -> Observations:
    view, point = np.nonzero(rig.landmarks.weights > 0.3)
    return Observations(view, point, rig.landmarks.points[view, point], np.full(len(view), sigma))


def _disturbed(bundle: Bundle, rng: np.random.Generator) -> Bundle:
    turn = Rotation.from_rotvec(rng.normal(0, 0.03, (len(bundle.R), 3))).as_matrix()
    return replace(
        bundle,
        R=turn @ bundle.R,
        t=bundle.t + rng.normal(0, 8, bundle.t.shape),
        focal=bundle.focal * 1.15,
        points=bundle.points + rng.normal(0, 2, bundle.points.shape),
    )


def _loose(bundle: Bundle, **changes) -> Priors:
    count, cameras = len(bundle.points), len(bundle.focal)
    loose = Priors(bundle.points, np.full(count, np.inf), bundle.focal, np.full(cameras, np.inf))
    return replace(loose, **changes)


def _shape_error(points, truth) -> float:
    seen = np.isfinite(points).all(1)
    motion = align_points(points[seen], truth[seen])
    return float(np.linalg.norm(motion.apply(points[seen]) - truth[seen], axis=1).mean())


def test_exact_pixels_give_back_the_cameras_up_to_a_similarity(face_rig: Callable) -> None:
    rig = face_rig(noise=0.0)
    start = _disturbed(_true_bundle(rig), np.random.default_rng(1))
    seen = _seen(rig)
    found = adjust(start, seen, _loose(start))
    assert np.linalg.norm(residuals(found, seen), axis=1).max() < 0.01
    counted = np.bincount(seen.point, minlength=478) >= 2
    assert _shape_error(found.points[counted], rig.points[counted]) < 0.01
    assert abs(found.focal[0] / 1800 - 1) < 1e-3
    relative = found.R @ np.transpose(found.R[0])
    true = np.stack([camera.R @ rig.cameras[0].R.T for camera in rig.cameras])
    assert np.abs(relative - true).max() < 1e-3


def test_noise_and_wrong_points_hardly_matter(face_rig: Callable) -> None:
    rig = face_rig(noise=0.3)
    start = _disturbed(_true_bundle(rig), np.random.default_rng(2))
    seen = _seen(rig)
    wrong = np.random.default_rng(5).choice(len(seen.view), len(seen.view) // 10, replace=False)
    seen.pixels[wrong] += 40
    found = adjust(start, seen, _loose(start))
    counted = np.bincount(seen.point, minlength=478) >= 3
    assert _shape_error(found.points[counted], rig.points[counted]) < 0.4


def test_a_lens_is_found_where_it_may_be(face_rig: Callable) -> None:
    rig = face_rig(noise=0.0, focal=700.0, lens=-0.1)
    start = _true_bundle(rig)
    stiff = adjust(start, _seen(rig), _loose(start))
    found = adjust(start, _seen(rig), _loose(start, radial_sigma=0.2))
    assert stiff.radial[0] == 0
    assert abs(found.radial[0] + 0.1) < 0.01


def test_a_prior_holds_the_focal_length(face_rig: Callable) -> None:
    rig = face_rig(noise=0.5)
    start = _true_bundle(rig)
    held = adjust(start, _seen(rig), _loose(start, focal=np.array([1500.0]), focal_sigma=np.array([1e-4])))
    assert abs(held.focal[0] / 1500 - 1) < 2e-3


def test_a_prior_holds_points_that_one_photo_shows(face_rig: Callable) -> None:
    rig = face_rig(noise=0.0)
    start = _true_bundle(rig)
    seen = _seen(rig)
    once = seen.point[0]
    keep = (seen.point != once) | (np.arange(len(seen.view)) == 0)
    lonely = Observations(seen.view[keep], seen.point[keep], seen.pixels[keep], seen.sigma[keep])
    priors = _loose(start, point_sigma=np.full(478, 5.0))
    found = adjust(_disturbed(start, np.random.default_rng(4)), lonely, priors)
    assert np.linalg.norm(found.points[once] - rig.points[once]) < 1


def test_the_steps_go_downhill_from_anywhere(face_rig: Callable) -> None:
    rig = face_rig(views=3)
    start = _true_bundle(rig)
    start = replace(start, t=start.t + [0, 0, -900.0])  # everything is behind the cameras
    priors = _loose(start, point_sigma=np.full(478, 5.0))
    found = adjust(start, _seen(rig), priors)
    assert np.isfinite(found.t).all()
    assert cost(found, _seen(rig), priors) <= cost(start, _seen(rig), priors)


def _seen_error(rig, bundle: Bundle) -> float:
    shown = (rig.landmarks.weights > 0.3).sum(0) >= 2
    return _shape_error(bundle.points[shown], rig.points[shown])


@pytest.mark.parametrize("focal", [800.0, 1800.0, 4300.0])
def test_cameras_are_found_from_nothing_but_landmarks(face_rig: Callable, focal: float) -> None:
    rig = face_rig(focal=focal)
    bundle, _ = adjust_to_landmarks(rig.photos, rig.landmarks, np.zeros(7, np.int64))
    assert _seen_error(rig, bundle) < 0.8
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
    assert _seen_error(rig, bundle) < 0.8


def test_a_photo_without_a_face_says_so(face_rig: Callable) -> None:
    rig = face_rig(views=4)
    weights = rig.landmarks.weights.copy()
    weights[1:3] = 0
    with pytest.raises(ReconstructionError, match="2 photos show the face well enough, at least 3"):
        solve_by_landmarks(rig.photos, Landmarks2D(rig.landmarks.points, weights), np.zeros(4, np.int64))


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
        make(CalibrationSettings, **wrong)
