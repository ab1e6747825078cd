"""A flat piece of skin that moves before some cameras, and tracks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.sequence.state import Track
from mesoface.sequence.tracking import SIZE
from mesoface.uvd.maps import texel_centers
from mesoface.uvd.space import UVDSpace

WIDTH_MM = 180.0
PHOTO = 360  # pixels
Fill = Callable[[tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Plate:
    """A textured square around the origin, facing +z."""

    texture: NDArray[np.float32]
    cameras: tuple[Camera, ...]

    def views(self, shift=(0.0, 0.0, 0.0)) -> tuple[View, ...]:
        """Photos of the plate moved by ``shift``, mm."""
        return tuple(
            View(str(i), self._photo(camera, shift), camera) for i, camera in enumerate(self.cameras)
        )

    def space(self, shift=(0.0, 0.0, 0.0)) -> UVDSpace:
        """The plate's surface."""
        uv = texel_centers(SIZE)
        position = np.concatenate([(uv - 0.5) * WIDTH_MM, np.zeros((SIZE, SIZE, 1))], -1) + shift
        normal = np.broadcast_to(np.array([0, 0, 1], np.float32), position.shape)
        valid = np.zeros((SIZE, SIZE), bool)
        valid[24:-24, 24:-24] = True
        return UVDSpace(position.astype(np.float32), normal.copy(), valid)

    def _photo(self, camera: Camera, shift) -> NDArray[np.float32]:
        rays = camera.rays(camera.pixel_grid())
        along = (shift[2] - camera.center[2]) / rays[..., 2]
        at = (camera.center + rays * along[..., None] - shift)[..., :2] / WIDTH_MM + 0.5
        side = len(self.texture)
        where = np.stack([at[..., 0] * side - 0.5, (1 - at[..., 1]) * side - 0.5], -1).astype(np.float32)
        grey = cv2.remap(self.texture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return np.repeat(grey[..., None], 3, -1)


def draw_plate(seed: int) -> Plate:
    """A plate with random skin and five cameras on an arc."""
    rng = np.random.default_rng(seed)
    texture = np.full((720, 720), 0.5, np.float32)
    for sigma, strength in ((3, 0.5), (8, 1.0), (20, 2.0)):
        texture += strength * cv2.GaussianBlur(rng.normal(size=(720, 720)).astype(np.float32), (0, 0), sigma)
    cameras = []
    for angle in np.radians([-30, -15, 0, 15, 30]):
        center = 900 * np.array([np.sin(angle), 0.1 * np.cos(3 * angle), np.cos(angle)])
        R, t = look_at(center, (0, 0, 0))
        half = (PHOTO - 1) / 2
        K = np.array([[4.2 * PHOTO, 0, half], [0, 4.2 * PHOTO, half], [0, 0, 1]])
        cameras.append(Camera(K, R, t, PHOTO, PHOTO))
    return Plate(np.clip(texture, 0, 1), tuple(cameras))


@pytest.fixture(scope="session")
def make_track() -> Callable[[Fill], Track]:
    """``make_track(np.zeros)`` → a track of two views; its numbers come from ``fill(shape)``."""

    def make(fill: Fill) -> Track:
        return Track(
            views=np.array(["left", "right"]),
            rotations=np.stack([np.eye(3)] * 2),
            translations=fill((2, 3)),
            anchor=(255 * fill((2, SIZE, SIZE))).astype(np.uint8),
            frames=3,
            position=fill((SIZE, SIZE, 3)).astype(np.float32),
            normal=fill((SIZE, SIZE, 3)).astype(np.float32),
            visibility=fill((2, SIZE, SIZE)).astype(np.float16),
            landmarks=fill((478, 3)),
            landmark_weights=fill((2, 478)),
            expression=fill((5,)),
            detail=fill((64, 64)).astype(np.float16),
            kept=fill((64, 64)) < 0.5,
            quality=np.array([0.97, 0.8]),
        )

    return make


@pytest.fixture(scope="session")
def plate() -> Plate:
    return draw_plate(1)


@pytest.fixture(scope="session")
def other_plate() -> Plate:
    """Another skin before the same cameras."""
    return draw_plate(2)
