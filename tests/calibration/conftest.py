"""A face of known shape before known cameras: its landmarks as they would be detected, without photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.calibration.landmark_bundle import mean_face
from mesoface.calibration.photos import Photo
from mesoface.face_models.loading import load_generic
from mesoface.face_models.scale import IRIS_MM
from mesoface.geometry.camera import Camera, look_at
from mesoface.landmarks import Landmarks2D
from mesoface.landmarks.triangulation import facing_weight, landmark_normals

Array = NDArray[np.float64]
WIDTH, HEIGHT = 640, 960


@dataclass(frozen=True, eq=False)
class FaceRig:
    """V cameras around a face.

    Args:
        cameras: the truth.
        points: (478, 3) the true landmarks, mm.
        photos: names and sizes; there are no files.
        landmarks: noisy, weighed as a detector weighs them.
    """

    cameras: tuple[Camera, ...]
    points: Array
    photos: list[Photo]
    landmarks: Landmarks2D


def _somebody(rng: np.random.Generator) -> Array:
    """(478, 3) landmarks of a face that is not the mean one."""
    model = load_generic()
    identity = rng.normal(0, 0.8, model.n_identity)
    vertices = model.shape(identity, np.zeros(model.n_expression))
    points = mean_face().copy()
    ids = model.topology.landmark_ids["mediapipe478"]
    points[ids] = model.topology.landmark_points("mediapipe478", vertices)
    ring = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    for iris in (468, 473):  # a ring of four around the pupil, the horizontal ones first and third
        points[iris + 1 : iris + 5] = points[iris] + IRIS_MM / 2 * ring
    return points


@pytest.fixture(scope="session")
def face_rig() -> Callable[..., FaceRig]:
    """``face_rig(views=7, focal=1800.0, noise=0.3)`` → a :class:`FaceRig`; noise in pixels."""

    def make(
        views: int = 7, focal: float = 1800.0, noise: float = 0.3, arc: float = 100.0, lens: float = 0.0
    ) -> FaceRig:
        rng = np.random.default_rng(3)
        points = _somebody(rng)
        middle = points.mean(0)
        normals = landmark_normals(points, "mediapipe478", np.array([0.0, 0.0, 1.0]))
        cameras, pixels, weights = [], [], []
        for angle in np.radians(np.linspace(-arc / 2, arc / 2, views)):
            away = 0.35 * focal * np.array([np.sin(angle), 0.15 * np.cos(3 * angle), np.cos(angle)])
            R, t = look_at(middle + away, middle)
            K = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
            camera = Camera(K, R, t, WIDTH, HEIGHT)
            towards = camera.center - points
            cosine = (normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
            ideal = camera.project(points)[0] - K[:2, 2]
            bent = ideal * (1 + lens * ((ideal / focal) ** 2).sum(1, keepdims=True)) + K[:2, 2]
            cameras.append(camera)
            pixels.append(bent + rng.normal(0, noise, ideal.shape))
            weights.append(facing_weight(cosine, -0.1, 0.4))
        photos = [Photo(str(v), Path(f"{v}.jpg"), WIDTH, HEIGHT) for v in range(views)]
        return FaceRig(tuple(cameras), points, photos, Landmarks2D(np.stack(pixels), np.stack(weights)))

    return make
