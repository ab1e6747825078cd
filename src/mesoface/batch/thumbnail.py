"""A thumbnail of a result: the frontal photo beside the surface."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.files.images import as_uint8, jpeg
from mesoface.rendering.reduced import reduce_surface
from mesoface.report.pictures import face_views
from mesoface.results.face import Face

THUMBNAIL = "thumbnail.jpg"
_WIDTH, _HEIGHT = 132, 168  # of each half
_MARGIN = 0.2  # around the landmarks, of their extent
_QUALITY = 82
_GRID = 192  # side of the grid that the surface is drawn on: more than the picture's pixels


def write_thumbnail(path: Path, face: Face) -> None:
    """Write the picture of ``face``, some 8 kB of JPEG.

    Raises:
        OSError: it cannot be written.
    """
    surface, relief = face.base, None
    if face.fine is not None:
        reduced = reduce_surface(face.fine, _GRID)
        surface, relief = reduced.mesh, reduced.relief
    [(_, clay)] = face_views(face, surface, relief, ["front"], (_WIDTH, _HEIGHT))
    forward = face.fit.rotation[:, 2]
    frontal = int(np.argmin([camera.forward @ forward for camera in face.capture.cameras]))
    photo = _around(face.capture.views[frontal], face.landmarks2d.points[frontal])
    path.write_bytes(jpeg(np.concatenate([photo, clay], axis=1), _QUALITY))


def _around(view: View, points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W, 3) the part of a photo around landmarks (L, 2), with grey where there is no photo."""
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    scale = min(np.array([_WIDTH, _HEIGHT]) / np.maximum((high - low) * (1 + 2 * _MARGIN), 1))
    shift = np.array([_WIDTH - 1, _HEIGHT - 1]) / 2 - scale * (low + high) / 2
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    # Blurred first: warping alone samples single pixels of a larger photo.
    smooth = cv2.GaussianBlur(view.image, (0, 0), max(0.4 / scale, 0.01)) if scale < 1 else view.image
    crop = cv2.warpAffine(
        smooth, move, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR, borderValue=(0.5, 0.5, 0.5)
    )
    return as_uint8(crop)
