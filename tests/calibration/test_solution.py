"""The verdict: good cameras pass, bad ones are named; and the world that they are put into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mesoface.calibration.calibrate import face_world
from mesoface.calibration.solution import PointTrack, Solution, describe, judge
from mesoface.geometry.camera import Camera, look_at


def _solution(rig, cameras: list[Camera | None] | None = None) -> Solution:
    cameras = list(rig.cameras) if cameras is None else cameras
    there = [v for v, camera in enumerate(cameras) if camera is not None]
    tracks = []
    for i in range(478):
        seen = [v for v in there if rig.landmarks.weights[v, i] > 0.3]
        if len(seen) >= 2:
            tracks.append(PointTrack(rig.points[i], seen, rig.landmarks.points[seen, i]))
    return describe("features", cameras, tracks, range(len(cameras)))


def test_figures_of_a_known_solution(face_rig: Callable) -> None:
    rig = face_rig(noise=0.5)
    solution = _solution(rig)
    assert solution.placed == list(range(7))
    assert 0.4 < solution.error < 0.8  # median length of two errors of 0.5
    assert (solution.errors > 0.3).all()
    assert 30 < solution.angle < 100
    assert solution.points == len(np.flatnonzero((rig.landmarks.weights > 0.3).sum(0) >= 2))


def test_true_cameras_are_good(face_rig: Callable) -> None:
    rig = face_rig()
    verdict = judge(rig.photos, rig.landmarks, _solution(rig))
    assert (verdict.level, verdict.problems) == ("good", ())
    assert (verdict.agreement < 0.005).all()


def test_lost_photos_lower_the_verdict(face_rig: Callable) -> None:
    rig = face_rig()
    some = [None if v in (1, 5) else camera for v, camera in enumerate(rig.cameras)]
    verdict = judge(rig.photos, rig.landmarks, _solution(rig, some))
    assert verdict.level == "doubtful"
    assert "2 of 7 photos could not be placed: 1, 5" in verdict.problems[0].what
    few = [camera if v < 2 else None for v, camera in enumerate(rig.cameras)]
    verdict = judge(rig.photos, rig.landmarks, _solution(rig, few))
    assert verdict.level == "failed"
    assert "only 2 of 7" in verdict.problems[0].what


def test_a_photo_placed_wrongly_is_named(face_rig: Callable) -> None:
    rig = face_rig()
    R, t = look_at(rig.cameras[0].center + [0, 300, 0], rig.points.mean(0))
    moved = [replace(rig.cameras[0], R=R, t=t), *rig.cameras[1:]]
    verdict = judge(rig.photos, rig.landmarks, _solution(rig, moved))
    assert verdict.level == "doubtful"
    assert any(problem.what.endswith("contradict the other photos: 0") for problem in verdict.problems)


def test_photos_from_one_direction_fail(face_rig: Callable) -> None:
    rig = face_rig(arc=2.5)
    verdict = judge(rig.photos, rig.landmarks, _solution(rig))
    assert verdict.level == "failed"
    assert "under" in " ".join(problem.what for problem in verdict.problems)


def test_faces_that_disagree_fail(face_rig: Callable) -> None:
    rig = face_rig()
    noise = np.random.default_rng(0).normal(0, 25, rig.landmarks.points.shape)
    wild = replace(rig.landmarks, points=rig.landmarks.points + noise)
    verdict = judge(rig.photos, wild, _solution(rig))
    assert verdict.level == "failed"
    assert "disagree about the face" in verdict.problems[0].what


def test_skin_that_no_other_photo_shows_fails(face_rig: Callable) -> None:
    """As with photos of two people: landmarks agree about any two faces, skin does not."""
    rig = face_rig()
    solution = _solution(rig)
    counts = np.where(np.arange(7) < 4, 3, solution.counts)
    verdict = judge(rig.photos, rig.landmarks, replace(solution, counts=counts))
    assert verdict.level == "failed"
    assert "same person" in verdict.problems[0].remedy


def test_convention_the_world_is_the_faces_in_millimetres(face_rig: Callable) -> None:
    rig = face_rig(noise=0.0)
    size = 3.7  # world units a millimetre; and the world lies anywhere
    R, _ = look_at((1.0, 2, 3), (0, 0, 0))
    cameras = [camera.moved(R, [50.0, -20, 9]).scaled_world(size) for camera in rig.cameras]
    scaled = replace(_solution(rig), cameras=tuple(cameras))
    verdict = judge(rig.photos, rig.landmarks, scaled)
    assert verdict.landmarks is not None
    moved, scale = face_world(scaled.cameras, verdict.placed, rig.landmarks, verdict.landmarks)
    assert scale.mm_per_unit * size == pytest.approx(1, rel=0.1)
    centers = np.stack([camera.center for camera in moved if camera is not None])
    assert (centers[:, 2] > 300).all()  # before the face
    assert (np.diff(centers[:, 0]) > 0).all()  # from the subject's right to its left
    assert abs(centers[3, 0]) < 60
    ups = np.stack([-camera.R[1] for camera in moved if camera is not None])
    assert (ups[:, 1] > 0.9).all()
