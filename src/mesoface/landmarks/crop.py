"""A turned square cut out of a photo: what the face networks look at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FOREHEAD, CHIN = 10, 152  # of the 478 points: both in the plane of symmetry, so seen from everywhere


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of ``side`` pixels around ``center``, turned by ``angle``.

    Args:
        center: (2,) pixels.
        side: pixels.
        angle: radians, from the photo's x axis to the square's, towards y.
    """

    center: Array
    side: float
    angle: float = 0.0

    @classmethod
    def whole(cls, image: NDArray[np.uint8], angle: float = 0.0) -> Crop:
        """The smallest square around the image."""
        height, width = image.shape[:2]
        return cls(np.array([(width - 1) / 2, (height - 1) / 2]), float(max(width, height)), angle)

    @classmethod
    def around(cls, points: Array, margin: float) -> Crop:
        """The upright square around a face.

        Args:
            points: (478, 2) landmarks, pixels.
            margin: side of the square over the larger side of the landmarks' bounding box.
        """
        up = points[FOREHEAD] - points[CHIN]
        angle = float(np.arctan2(up[0], -up[1]))
        axes = _rotation(angle)
        low, high = (points @ axes).min(0), (points @ axes).max(0)
        return cls(axes @ ((low + high) / 2), float((high - low).max()) * margin, angle)

    def jittered(self, shift: tuple[float, float], scale: float, angle: float) -> Crop:
        """Moved by ``shift`` sides along its own axes, scaled, turned further by ``angle``."""
        center = self.center + _rotation(self.angle) @ (self.side * np.asarray(shift))
        return Crop(center, self.side * scale, self.angle + angle)

    def cut(self, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """(size, size, 3) resampled; averaged over the pixels' area when shrunk, black outside."""
        factor = min(max(1, round(self.side / size)), 3)
        fine = size * factor
        # pixel j of the cut has its centre at (j + 0.5) / fine of the square
        axes = _rotation(self.angle) * (self.side / fine)
        offset = self.to_image(np.full((1, 2), 0.5 / fine))[0]
        matrix = np.column_stack([axes, offset])
        cut = cv2.warpAffine(image, matrix, (fine, fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA) if factor > 1 else cut

    def to_image(self, points: Array) -> Array:
        """(N, 2) in [0, 1]² of the square → pixels of the photo."""
        return self.center + (np.asarray(points) - 0.5) @ _rotation(self.angle).T * self.side


def _rotation(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
