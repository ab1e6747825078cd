"""Bundle adjustment: it finds cameras that are known, and priors hold what the photos do not tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from mesoface.calibration.bundle import Bundle, Observations, Priors, adjust, cost, residuals
from mesoface.geometry.alignment import align_points


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
