"""A face made of geometry only: MediaPipe's mesh spread over a bulged oval, and cameras around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mesoface.captures.capture import Capture
from mesoface.captures.load import load_capture
from mesoface.geometry.camera import Camera, look_at
from mesoface.landmarks import Landmarks2D, MediapipeDetector
from mesoface.landmarks.triangulation import mediapipe_faces

HALF_WIDTH, HALF_HEIGHT, BULGE = 70.0, 95.0, 65.0  # mm


def _oval() -> list[int]:
    """The outline of the face, from the forehead over the subject's left cheek to the chin and back."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_FACE_OVAL

    after: dict[int, list[int]] = {}
    for a, b in FACEMESH_FACE_OVAL:
        after.setdefault(a, []).append(b)
        after.setdefault(b, []).append(a)
    ring = [10, 338]
    while len(ring) < len(after):
        ring.append(next(n for n in after[ring[-1]] if n != ring[-2]))
    return ring


@pytest.fixture(scope="session")
def toy_face() -> np.ndarray:
    """(478, 3) mm; x to the subject's left, y up, z outwards: a Tutte embedding on half an ellipsoid."""
    ring = _oval()
    faces = mediapipe_faces()
    adjacency = np.zeros((468, 468))
    for a, b in [(0, 1), (1, 2), (2, 0)]:
        adjacency[faces[:, a], faces[:, b]] = adjacency[faces[:, b], faces[:, a]] = 1
    laplacian = np.diag(adjacency.sum(1)) - adjacency
    angle = 2 * np.pi * np.arange(len(ring)) / len(ring)
    disc = np.zeros((468, 2))
    disc[ring] = np.column_stack([np.sin(angle), np.cos(angle)])
    inner = np.setdiff1d(np.arange(468), ring)
    disc[inner] = np.linalg.solve(
        laplacian[np.ix_(inner, inner)], -laplacian[np.ix_(inner, ring)] @ disc[ring]
    )
    radius = np.linalg.norm(disc, axis=1)
    height = BULGE * np.sqrt(np.maximum(0.0, 1 - 0.9 * radius**2))
    points = np.column_stack([disc[:, 0] * HALF_WIDTH, disc[:, 1] * HALF_HEIGHT, height])
    irises = [points[[33, 133]].mean(0)] * 5 + [points[[362, 263]].mean(0)] * 5
    return np.vstack([points, irises])


@pytest.fixture(scope="session")
def ring_of_cameras() -> Callable[..., list[Camera]]:
    """``ring_of_cameras(10, 60)`` → cameras 900 mm away over ±60° of azimuth, 864 × 1296 pixels."""

    def make(count: int = 10, reach: float = 60.0) -> list[Camera]:
        rng = np.random.default_rng(count)
        cameras = []
        for azimuth in np.radians(np.linspace(-reach, reach, count)):
            elevation = np.radians(rng.uniform(-15, 15))
            x, z = np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation)
            center = rng.uniform(820, 950) * np.array([x, np.sin(elevation), z])
            R, t = look_at(center, rng.normal(0, 5, 3))
            K = np.array([[4000.0, 0, 432], [0, 4000, 648], [0, 0, 1]])
            cameras.append(Camera(K, R, t, 864, 1296))
        return cameras

    return make


@pytest.fixture(scope="session")
def seen_by() -> Callable[..., Landmarks2D]:
    """``seen_by(cameras, points, noise=1.0)`` → landmarks as those cameras see them, weight 1."""

    def make(cameras: Sequence[Camera], points: np.ndarray, noise: float = 0.0, seed: int = 0) -> Landmarks2D:
        rng = np.random.default_rng(seed)
        pixels = np.stack([camera.project(points)[0] for camera in cameras])
        return Landmarks2D(pixels + rng.normal(0, noise, pixels.shape), np.ones(pixels.shape[:2]))

    return make


@pytest.fixture(scope="session")
def detector() -> MediapipeDetector:
    """One detector for all tests: its networks take a second to load."""
    return MediapipeDetector()


@pytest.fixture(scope="session")
def scanned(shared, detector) -> tuple[Capture, Landmarks2D]:
    """The rendered scan and its detected landmarks, or skip."""
    capture = load_capture(shared("captures/lps"))
    return capture, detector.detect(capture)


@pytest.fixture(scope="session")
def photographed(shared) -> Capture:
    """Five of the phone photos, or skip."""
    names = ["000007", "000020", "000031", "000040", "000076"]
    return load_capture(shared("captures/phone"), names=names)
