"""Landmarks that stay on the same piece of skin from photo to photo, in the photos' own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.photos import Photo
from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.load import load_source
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D, align_landmarks, triangulate

Array = NDArray[np.float64]

_MAX_SIDE = 1600  # pixels: the face is followed at a few hundred of them


def follow_skin(
    photos: Sequence[Photo], cameras: Sequence[Camera], landmarks: Landmarks2D
) -> tuple[Array, Array]:
    """Move landmarks to where the photos show the same skin, by :func:`.landmarks.align_landmarks`.

    Args:
        photos: V photos.
        cameras: of them, near the truth, lenses included.
        landmarks: as detected, in the photos' pixels.

    Returns:
        (V, 478, 2) pixels of the photos and (V, 478) how well the skin agreed there; 0 where a landmark
        could not be followed.
    """
    views = tuple(
        ViewSource(photo.name, photo.path, camera) for photo, camera in zip(photos, cameras, strict=True)
    )
    capture = load_source(CaptureSource(Path(photos[0].path.parent), "photos", views), max_size=_MAX_SIDE)
    seen = _carried(landmarks.points, cameras, capture.cameras)
    detected = Landmarks2D(seen, landmarks.weights, landmarks.scheme)
    moved, _ = align_landmarks(capture, detected, triangulate(capture.cameras, detected))
    # Landmarks that were not followed come back as they were detected, to the last bit.
    same = np.isnan(moved.points).any(-1) | (moved.points == seen).all(-1)
    followed = ~same.all(0) & (moved.weights > 0)
    return _carried(moved.points, capture.cameras, cameras), np.where(followed, moved.weights, 0.0)


def _carried(pixels: Array, a: Sequence[Camera], b: Sequence[Camera]) -> Array:
    """(V, N, 2) pixels of cameras ``a`` → pixels of ``b``, which stand where ``a`` do."""
    return np.stack(
        [
            there.project(here.center + here.rays(some))[0]
            for some, here, there in zip(pixels, a, b, strict=True)
        ]
    )
