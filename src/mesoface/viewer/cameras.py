"""The capture's cameras in the viewer: frusta, and the pose that looks through one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PhotoPlane:
    """Where a photo is placed in space to cover its camera's field of view.

    Args:
        center: (3,) in the world's unit.
        width: of the plane.
        height: of the plane.
    """

    center: Array
    width: float
    height: float


def quaternion(camera: Camera) -> Array:
    """(4,) w, x, y, z: camera axes (x right, y down, z forward) → world."""
    return np.roll(Rotation.from_matrix(camera.R.T).as_quat(), 1)


def photo_plane(camera: Camera, depth: float) -> PhotoPlane:
    """The photo's place at ``depth`` along the optical axis, in the unit of ``depth`` and the camera.

    The principal point need not be the photo's middle.
    """
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    middle = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
    center = camera.unproject(middle, np.array(depth))
    return PhotoPlane(center, camera.width / fx * depth, camera.height / fy * depth)


def field_of_view(camera: Camera) -> float:
    """Vertical, radians: of a frustum drawn for the photo."""
    return float(2 * np.arctan2(camera.height / 2, camera.K[1, 1]))


def frustum_scale(camera: Camera, depth: float) -> float:
    """The ``scale`` that makes viser's frustum ``depth`` long: viser keeps its volume, not its length."""
    half_height = np.tan(field_of_view(camera) / 2)
    half_width = half_height * camera.width / camera.height
    return float(depth * np.cbrt(half_width * half_height / 3))


def covering_field_of_view(camera: Camera, aspect: float) -> float:
    """Vertical, radians: of a window of ``aspect`` (width / height) that shows the whole photo.

    The window looks along the optical axis, so the farther of two opposite edges sets the size.
    """
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    cx, cy = camera.K[0, 2] + 0.5, camera.K[1, 2] + 0.5
    half_width = max(cx, camera.width - cx) / fx
    half_height = max(cy, camera.height - cy) / fy
    return float(2 * np.arctan(max(half_height, half_width / aspect)))
