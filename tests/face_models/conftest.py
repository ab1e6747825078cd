"""A small made-up face: a bumpy half ellipsoid with smooth modes and landmarks in two schemes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mesoface.face_models import LinearFaceModel, Topology
from mesoface.geometry.camera import Camera, look_at
from mesoface.landmarks.types import Landmarks2D, Landmarks3D


def toy_model(n_identity: int = 6, n_expression: int = 3, bounded: bool = False) -> LinearFaceModel:
    """A grid of 21 × 25 vertices over ±70 × ±100 mm, with ``n_identity + n_expression`` smooth modes."""
    rng = np.random.default_rng(5)
    u, v = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 25))
    x, y = 140 * (u - 0.5), 200 * (v - 0.5)
    z = 70 * np.sqrt(np.maximum(1.2 - (x / 70) ** 2 * 0.9 - (y / 100) ** 2 * 0.2, 0))
    z = z + 25 * np.exp(-(x**2 + y**2) / 200)
    mean = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    waves = rng.normal(size=(n_identity + n_expression, 4, 3)) / 60
    phase = rng.uniform(0, 6, (n_identity + n_expression, 4, 3))
    amount = rng.normal(size=(n_identity + n_expression, 4, 3))
    basis = np.einsum(
        "mkc,nmkc->mnc", amount, np.sin(np.einsum("nj,mkj->nmk", mean, waves)[..., None] + phase)
    )
    at = np.arange(20)[None] + 21 * np.arange(24)[:, None]
    quads = np.stack([at, at + 1, at + 22, at + 21], -1).reshape(-1, 4)
    faces = np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    uv = np.column_stack([u.ravel(), v.ravel()])
    bary = np.full((120, 3), 1 / 3)
    places = rng.choice(len(faces), 120, replace=False)
    schemes = {"mediapipe478": np.sort(rng.choice(468, 120, replace=False)), "ibug68": np.arange(68)}
    topology = Topology(
        faces,
        uv,
        faces,
        np.ones(len(faces), bool),
        schemes,
        {name: places[: len(ids)] for name, ids in schemes.items()},
        {name: bary[: len(ids)] for name, ids in schemes.items()},
    )
    bounds = None
    if bounded:
        low = np.r_[np.full(n_identity, -np.inf), np.zeros(n_expression)]
        bounds = (low, np.r_[np.full(n_identity, np.inf), np.full(n_expression, 2.5)])
    return LinearFaceModel("toy", mean, basis.astype(np.float32), n_identity, topology, bounds)


def ring_of_cameras(views: int = 6, spread: float = 50.0, unit_mm: float = 1.0) -> tuple[Camera, ...]:
    """Cameras 700 mm in front of the origin over ±``spread`` degrees, in a world of ``unit_mm`` mm a unit."""
    K = np.array([[2400, 0, 431.5], [0, 2400, 647.5], [0, 0, 1]])
    cameras = []
    for angle in np.radians(np.linspace(-spread, spread, views)):
        R, t = look_at(700 * np.array([np.sin(angle), 0.2 * np.cos(2 * angle), np.cos(angle)]), (0, 0, 30))
        cameras.append(Camera(K, R, t / unit_mm, 864, 1296))
    return tuple(cameras)


@pytest.fixture(scope="session")
def toy() -> Callable[..., LinearFaceModel]:
    """:func:`toy_model`."""
    return toy_model


@pytest.fixture(scope="session")
def ring() -> Callable[..., tuple[Camera, ...]]:
    """:func:`ring_of_cameras`."""
    return ring_of_cameras


@pytest.fixture(scope="session")
def observe() -> Callable[..., tuple[Landmarks2D, Landmarks3D]]:
    """``observe(cameras, points, ids, noise_px, seed)`` → landmarks of (L', 3) points, found and placed."""

    def make(
        cameras: tuple[Camera, ...], points: np.ndarray, ids: np.ndarray, noise_px: float = 0.0, seed: int = 0
    ) -> tuple[Landmarks2D, Landmarks3D]:
        rng = np.random.default_rng(seed)
        pixels = np.full((len(cameras), 478, 2), np.nan)
        pixels[:, ids] = np.stack([camera.project(points)[0] for camera in cameras])
        pixels += rng.normal(0, noise_px, pixels.shape)
        weights = np.isfinite(pixels).all(2).astype(float)
        placed = np.full((478, 3), np.nan)
        placed[ids] = points
        found = Landmarks2D(pixels, weights)
        return found, Landmarks3D(placed, weights, np.zeros_like(weights), np.zeros(len(cameras), bool))

    return make
