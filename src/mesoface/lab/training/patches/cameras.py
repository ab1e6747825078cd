"""Cameras round a patch of the face: where they stand, how photos are cut, and what they seem to see."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.captures.capture import View
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import unit
from mesoface.lab.training.patches.fields import log_uniform
from mesoface.lab.training.patches.surface import MARGIN, Scale
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import cast_visibility

# Numbers of cameras and how often each is drawn.
_COUNTS = np.arange(2, 13)
_OFTEN = np.array([2, 6, 6, 7, 5, 5, 5, 4, 5, 2, 2], float)
_FRAMES = (3, 40)
# Cosine to the skin's normal below which a camera sees nothing of use, and from which it sees it well.
_SEES, _SEES_WELL = 0.2, 0.4
# Photo that is kept around the patch, texels.
_BORDER = 8.0


def draw_directions(rng: np.random.Generator, *, video: bool = False) -> NDArray[np.float64]:
    """(V, 3) unit vectors from the face to the cameras of a rig; +z is its front, +y up.

    ``video``: frames of a video, 3 to 40 of them, few as often as many, instead of a rig's 2 to 12.
    """
    often = _OFTEN / _OFTEN.sum()
    count = round(log_uniform(rng, *_FRAMES)) if video else int(rng.choice(_COUNTS, p=often))
    # Neighbours much further apart show the same skin too differently for any matcher.
    spread = np.radians(min(rng.uniform(30, 140), 45 * (count - 1)))
    azimuth = np.linspace(-spread / 2, spread / 2, count)
    azimuth += rng.uniform(-0.25, 0.25, count) * spread / (count - 1)
    elevation = np.radians(rng.normal(4, 4) + rng.normal(0, log_uniform(rng, 2, 16), count))
    level = np.cos(elevation)
    return np.stack([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], -1)


def draw_pose(rng: np.random.Generator, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation (3, 3) from the patch's frame to the face's: some part of the face that two cameras see well.

    Args:
        rng: source of chance.
        directions: (V, 3) towards the cameras, in the face's frame.
    """
    first = int(rng.integers(len(directions) - 1))
    between = unit(directions[first] + directions[first + 1])
    for tilt in np.radians(rng.uniform(0, 55) * 0.8 ** np.arange(12)):
        away = rng.normal(size=3)
        away = unit(away - between * (away @ between))
        normal = np.cos(tilt) * between + np.sin(tilt) * away
        if (directions @ normal > _SEES_WELL).sum() >= 2:
            break
    # Up in UV is about up in the face, now and then anything.
    right = unit(np.cross([0.0, 1.0, 0.0], normal))
    upright = np.stack([right, np.cross(normal, right), normal], -1)
    turn = rng.uniform(-np.pi, np.pi) if rng.uniform() < 0.2 else rng.normal(0, 0.4)
    return upright @ Rotation.from_rotvec([0, 0, turn]).as_matrix()


def draw_cameras(
    rng: np.random.Generator,
    scale: Scale,
    directions: NDArray[np.float64],
    position: NDArray,
    normal: NDArray,
) -> list[Camera]:
    """One camera for every direction from which some of the patch is seen.

    Args:
        rng: source of chance.
        scale: has what a pixel spans.
        directions: (V, 3) towards the cameras, in the patch's frame.
        position: (H, H, 3) of the patch, mm, around the origin.
        normal: (H, H, 3).

    Returns:
        cameras without a lens, each of a size in whole fours of pixels.
    """
    points = position.reshape(-1, 3).astype(np.float64)
    normals = normal.reshape(-1, 3).astype(np.float64)
    middle = points.mean(0)
    distance = log_uniform(rng, 450, 1500) + scale.size * scale.texel_mm
    portrait = rng.uniform() < 0.3  # photos lie on their side
    cameras = []
    for direction in directions:
        aim = middle + rng.normal(0, 40, 3)
        center = middle + distance * rng.uniform(0.9, 1.1) * direction
        roll = (
            rng.uniform(-np.pi, np.pi) if rng.uniform() < 0.1 else rng.normal(0, 0.1) + np.pi / 2 * portrait
        )
        R, t = look_at(center, aim, up=_up_in_photo(direction, roll))
        focal = float(np.linalg.norm(center - middle)) / (scale.pixel_mm * rng.uniform(0.85, 1.15))
        facing = ((unit(center - points) * normals).sum(1) > _SEES).mean()
        if direction[2] > _SEES and facing > 0.1:
            cameras.append(_cut(R, t, focal, points, _BORDER * scale.texel_mm / scale.pixel_mm))
    return cameras


def _up_in_photo(direction: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    """(3,) a direction across the line of sight, turned by ``roll`` from the patch's own up."""
    up = np.array([0.0, 1.0, 0.0]) - direction * direction[1]
    if np.linalg.norm(up) < 1e-3:
        up = np.cross(direction, [1.0, 0.0, 0.0])
    return Rotation.from_rotvec(roll * direction).apply(unit(up))


def _cut(R: NDArray, t: NDArray, focal: float, points: NDArray[np.float64], border: float) -> Camera:
    """The camera whose picture is just ``points`` (N, 3) and ``border`` pixels around them."""
    whole = Camera(np.diag([focal, focal, 1.0]), R, t, 1, 1)
    pixels, _ = whole.project(points)
    low = np.floor(pixels.min(0) - max(border, 6.0))
    width, height = (4 * np.ceil((pixels.max(0) + max(border, 6.0) - low) / 4)).astype(int)
    return whole.cropped(int(low[0]), int(low[1]), int(width), int(height))


# The cascade casts some 192² rays over a whole face, whatever its level.
_RAY_MM = 1.1


def believed_visibility(around: UVDSpace, cameras: Sequence[Camera]) -> NDArray[np.float32]:
    """Ray cast visibility of the middle of a space.

    Args:
        around: (H, H) texels: the patch and :data:`~mesoface.lab.training.patches.surface.MARGIN` around it,
            which may hide parts of it.
        cameras: V cameras whose photos show the patch.

    Returns:
        (V, T, T) float32 in [0, 1] for the T × T texels of the patch.
    """
    rays = int(np.clip(np.ceil(around.size * around.texel_mm / _RAY_MM), 8, around.size))
    visibility = cast_visibility(around.resized(rays), [_uncut(camera) for camera in cameras])
    inner = slice(MARGIN, around.size - MARGIN)
    whole = (around.size, around.size)
    return np.stack([cv2.resize(v, whole, interpolation=cv2.INTER_LINEAR)[inner, inner] for v in visibility])


def _uncut(camera: Camera) -> View:
    """An empty photo that extends beyond the cut: the cascade has the whole photo."""
    width, height = camera.width, camera.height
    whole = camera.cropped(-width, -height, 3 * width, 3 * height)
    return View("", np.broadcast_to(np.float32(0), (whole.height, whole.width, 3)), whole)
