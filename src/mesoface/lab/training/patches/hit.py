"""Where the rays of a camera meet a height field: a march on few rays, then secants on all of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.lab.training.patches.height import HeightField
from mesoface.lab.training.patches.surface import SAMPLES

# One ray of so many in both directions is marched along the smoothed surface.
_STRIDE = 4
_MOST_STEPS = 64
# Rays rise at least so much per unit of length: those that graze the plane would run on forever.
_FLATTEST = 0.03


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays down to a height field: at height z they are at ``start + z · lean``. All in samples.

    Args:
        column: (h, w) float32 at z = 0.
        row: (h, w) float32 at z = 0.
        lean_column: (h, w) float32 columns per sample of height.
        lean_row: (h, w) float32 rows per sample of height.
    """

    column: NDArray[np.float32]
    row: NDArray[np.float32]
    lean_column: NDArray[np.float32]
    lean_row: NDArray[np.float32]

    @classmethod
    def of(cls, camera: Camera, heights: HeightField, x: NDArray, y: NDArray) -> Rays:
        """Rays through the pixels at columns ``x`` (w,) and rows ``y`` (h,) of a camera above the field."""
        inverse = camera.R.T @ np.linalg.inv(camera.K)
        dx, dy, dz = (
            (inverse[k, 0] * x[None] + inverse[k, 1] * y[:, None] + inverse[k, 2]) for k in range(3)
        )
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        dz = np.minimum(dz, -_FLATTEST * length)
        center = camera.center / heights.spacing
        middle = (heights.size - 1) / 2
        lean_x, lean_y = dx / dz, -dy / dz
        start_x, start_y = middle + center[0] - center[2] * lean_x, middle - center[1] - center[2] * lean_y
        return cls(*(a.astype(np.float32) for a in (start_x, start_y, lean_x, lean_y)))

    def at(self, z: NDArray[np.float32] | np.float32) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(h, w) columns and rows at height ``z``, samples."""
        return self.column + z * self.lean_column, self.row + z * self.lean_row


def look_up(values: NDArray[np.float32], column: NDArray, row: NDArray, border: int) -> NDArray[np.float32]:
    """Bilinear ``values`` (n, n[, C]) at columns and rows (h, w); ``border``: OpenCV's rule for beyond."""
    return cv2.remap(values, column, row, cv2.INTER_LINEAR, borderMode=border)


def first_hits(
    camera: Camera, heights: HeightField, supersample: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each ray first meets the surface.

    Args:
        camera: above the field, its size a multiple of four.
        heights: the surface.
        supersample: rays per pixel and axis.

    Returns:
        columns and rows of the height field, each (s·H, s·W) float32.
    """
    z = heights.z / np.float32(heights.spacing)
    smooth = cv2.GaussianBlur(z, (0, 0), SAMPLES)
    x, y = ((np.arange(n * supersample) + 0.5) / supersample - 0.5 for n in (camera.width, camera.height))
    rays = Rays.of(camera, heights, x, y)
    few = Rays.of(camera, heights, *(line.reshape(-1, _STRIDE).mean(1) for line in (x, y)))
    coarse = cv2.resize(_march(few, smooth), rays.column.shape[::-1], interpolation=cv2.INTER_LINEAR)
    height = _refine(rays, z, coarse, float(np.abs(z - smooth).max()) + 0.5 * SAMPLES)
    return rays.at(height)


def _march(rays: Rays, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) height, samples, at which the rays first dip below ``z`` (n, n)."""
    top, bottom = float(z.max()) + 0.5, float(z.min()) - 0.5
    lean = float(np.hypot(rays.lean_column, rays.lean_row).max())
    count = int(np.clip((top - bottom) * lean / (2 * SAMPLES), 6, _MOST_STEPS))
    return _descend(rays, z, np.full_like(rays.row, top), (top - bottom) / count, count)


def _refine(
    rays: Rays, z: NDArray[np.float32], guess: NDArray[np.float32], band: float
) -> NDArray[np.float32]:
    """(h, w) height, samples, of the first meeting with ``z`` from ``band`` above ``guess`` down."""
    lean = float(np.median(np.hypot(rays.lean_column, rays.lean_row)))
    count = int(np.clip(2 * band * lean / (2 * SAMPLES), 2, 8))
    return _descend(rays, z, guess + np.float32(band), 2 * band / count, count, secants=3)


def _descend(
    rays: Rays,
    z: NDArray[np.float32],
    start: NDArray[np.float32],
    step: float,
    count: int,
    secants: int = 1,
) -> NDArray[np.float32]:
    """Go down from ``start`` in ``count`` steps; in the one that crosses ``z``, close in by regula falsi.

    The weight of an end that stays is halved (the Illinois rule), so that both ends close in.
    """

    def clearance(height: NDArray[np.float32]) -> NDArray[np.float32]:
        return height - look_up(z, *rays.at(height), cv2.BORDER_REPLICATE)

    high, low = start, start
    above = below = clearance(start)
    for k in range(1, count + 1):
        at = start - np.float32(k * step)
        clear = clearance(at)
        going = below > 0  # not crossed yet
        high, above = np.where(going, low, high), np.where(going, below, above)
        low, below = np.where(going, at, low), np.where(going, clear, below)
    for _ in range(secants):
        share = np.clip(above / np.maximum(above - below, 1e-6), 0, 1)
        at = high + share * (low - high)
        clear = clearance(at)
        over = clear > 0
        high, above = np.where(over, at, high), np.where(over, clear, 0.5 * above)
        low, below = np.where(over, low, at), np.where(over, 0.5 * below, clear)
    share = np.clip(above / np.maximum(above - below, 1e-6), 0, 1)
    return high + share * (low - high)
