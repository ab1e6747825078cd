"""The world of a calibrated face: millimetres, its origin in the face, its axes the face's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mesoface.errors import ReconstructionError
from mesoface.face_models.scale import ScaleEstimate, scale_from_eyes
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D, Landmarks3D
from mesoface.landmarks.selection import face_axes


def face_world(
    cameras: Sequence[Camera | None], placed: Sequence[int], landmarks: Landmarks2D, points: Landmarks3D
) -> tuple[tuple[Camera | None, ...], ScaleEstimate]:
    """Cameras moved into the face's world, and how its scale is known.

    x goes to the subject's left, y up, z out of the face; the origin is the middle of the landmarks.

    Args:
        cameras: of V photos in any world; None where there is none.
        placed: indices of the photos that ``points`` are of.
        landmarks: in V photos.
        points: the same triangulated, in the cameras' world.

    Raises:
        ReconstructionError: the eyes were not located, so that nothing tells the scale.
        LandmarkError: nor eye corners, chin and forehead.
    """
    index = list(placed)
    seen = replace(landmarks, points=landmarks.points[index], weights=landmarks.weights[index])
    shown = [camera for v in index if (camera := cameras[v]) is not None]
    scale = scale_from_eyes(shown, seen, points)
    if scale is None:
        raise ReconstructionError(
            "the eyes were not located, so nothing tells the scale", remedy="add photos from the front"
        )
    axes = face_axes(points)
    middle = np.nanmean(points.points, 0)
    moved = tuple(
        None if camera is None else camera.moved(axes, -axes @ middle).scaled_world(scale.mm_per_unit)
        for camera in cameras
    )
    return moved, scale
