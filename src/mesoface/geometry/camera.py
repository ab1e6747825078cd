"""Pinhole camera with an optional lens that distorts, in OpenCV axes and millimetres.

Conventions: x right, y down, z forward; ``x_cam = R @ x_world + t``; the centre of the top-left
pixel is (0, 0), so an image spans [-0.5, W - 0.5] × [-0.5, H - 0.5].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera.

    Args:
        K: (3, 3) intrinsics, pixels.
        R: (3, 3) rotation, world → camera.
        t: (3,) translation, world units.
        width: image width, pixels.
        height: image height, pixels.
        lens: distortion, or None for an ideal pinhole.

    Raises:
        ValueError: an array has the wrong shape, is not finite, or R is not a rotation.
    """

    K: Array
    R: Array
    t: Array
    width: int
    height: int
    lens: Lens | None = None

    def __post_init__(self) -> None:
        for name, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,))):
            value = np.array(getattr(self, name), np.float64)
            if value.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} has numbers that are not finite")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if not np.allclose(self.R @ self.R.T, np.eye(3), atol=1e-3) or np.linalg.det(self.R) < 0:
            raise ValueError("R is not a rotation (R·Rᵀ ≠ 1 or det R < 0)")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or not np.allclose(self.K[2], [0, 0, 1]):
            raise ValueError("K is not an intrinsics matrix (fx, fy > 0 and last row 0 0 1 expected)")
        if abs(self.K[1, 0]) > 1e-9:
            raise ValueError("K[1][0] must be 0")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be positive, got {self.width}×{self.height}")

    @property
    def center(self) -> Array:
        """(3,) position of the optical centre, world units."""
        return -self.R.T @ self.t

    @property
    def forward(self) -> Array:
        """(3,) unit viewing direction in the world."""
        return self.R[2].copy()

    @property
    def P(self) -> Array:
        """(3, 4) projection matrix K [R|t], without the lens."""
        return self.K @ np.column_stack([self.R, self.t])

    def to_camera(self, points: ArrayLike) -> Array:
        """(..., 3) world → (..., 3) camera coordinates."""
        return np.asarray(points, np.float64) @ self.R.T + self.t

    def project(self, points: ArrayLike) -> tuple[Array, Array]:
        """Project world points.

        Args:
            points: (..., 3) world coordinates.

        Returns:
            pixels (..., 2) and depth (...,) along the optical axis. Pixels of points at depth ≤ 0 are NaN.
        """
        x = self.to_camera(points)
        depth = x[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.where(depth[..., None] > 0, x[..., :2] / depth[..., None], np.nan)
        if self.lens is not None:
            xy = self.lens.distort(xy.reshape(-1, 2)).reshape(xy.shape)
        return self._pixels(xy), depth

    def rays(self, pixels: ArrayLike) -> Array:
        """(..., 2) pixels → (..., 3) unit directions in the world."""
        xy = self._normalised(np.asarray(pixels, np.float64))
        if self.lens is not None:
            xy = self.lens.undistort(xy.reshape(-1, 2)).reshape(xy.shape)
        direction = np.concatenate([xy, np.ones_like(xy[..., :1])], -1) @ self.R
        return direction / np.linalg.norm(direction, axis=-1, keepdims=True)

    def unproject(self, pixels: ArrayLike, depth: ArrayLike) -> Array:
        """(..., 2) pixels and (...,) depth along the optical axis → (..., 3) world points."""
        rays = self.rays(pixels)
        along = rays @ self.R[2]
        return self.center + rays * (np.asarray(depth, np.float64) / along)[..., None]

    def pixel_grid(self) -> Array:
        """(H, W, 2) coordinates (x, y) of every pixel centre."""
        x, y = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64))
        return np.stack([x, y], -1)

    def scaled(self, factor: float) -> Camera:
        """The camera of the image resized by ``factor`` (sizes are rounded)."""
        width, height = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        sx, sy = width / self.width, height / self.height
        K = np.diag([sx, sy, 1.0]) @ self.K
        # Pixel centres are at integers, so an image edge is at -0.5 and must stay there.
        K[0, 2], K[1, 2] = sx * (self.K[0, 2] + 0.5) - 0.5, sy * (self.K[1, 2] + 0.5) - 0.5
        return replace(self, K=K, width=width, height=height)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the image cut to ``image[top:top+height, left:left+width]``."""
        K = self.K.copy()
        K[:2, 2] -= (left, top)
        return replace(self, K=K, width=width, height=height)

    def scaled_world(self, mm_per_unit: float) -> Camera:
        """The camera of a world whose coordinates were multiplied by ``mm_per_unit``."""
        return replace(self, t=self.t * mm_per_unit)

    def moved(self, R: ArrayLike, t: ArrayLike) -> Camera:
        """The camera of a world moved by ``x → R x + t``."""
        R = np.asarray(R, np.float64)
        rotation = self.R @ R.T
        return replace(self, R=rotation, t=self.t - rotation @ np.asarray(t, np.float64))

    def undistorted(self, margin: float = 0.0) -> tuple[Camera, NDArray[np.float32]]:
        """A pinhole camera whose pixels are all inside of this camera's image, and the map to it.

        An axis-aligned window of ideal image coordinates that stays inside the photo is kept (the same
        idea as ``alpha=0`` in OpenCV), at the photo's own focal length, no larger than twice the photo.

        Args:
            margin: share of the window to leave off at each side.

        Returns:
            camera without a lens, and an (H, W, 2) float32 map for ``cv2.remap``: where in the photo
            each pixel of the undistorted image comes from.

        Raises:
            ValueError: nothing is left of the image.
        """
        if self.lens is None:
            return self, self.pixel_grid().astype(np.float32)
        left, top, right, bottom = self._ideal_window(self.lens)
        dx, dy = (right - left) * margin, (bottom - top) * margin
        x0, y0 = int(np.ceil(left + dx)), int(np.ceil(top + dy))
        x1, y1 = int(np.floor(right - dx)), int(np.floor(bottom - dy))
        if x1 - x0 < 8 or y1 - y0 < 8:
            raise ValueError("nothing of the image is left after undistortion: check the lens coefficients")
        camera = replace(self.cropped(x0, y0, x1 - x0 + 1, y1 - y0 + 1), lens=None)
        return camera, self._source_map(camera, self.lens)

    def _source_map(self, ideal: Camera, lens: Lens) -> NDArray[np.float32]:
        """(H, W, 2) pixels of the photo that ``ideal``, of the same pose, sees at its own pixels."""
        if isinstance(lens, OpenCVLens) and self.K[0, 1] == 0:  # the same numbers, 20 times as fast
            how = np.array(lens.coefficients), np.eye(3), ideal.K, (ideal.width, ideal.height), cv2.CV_32FC2
            return cv2.initUndistortRectifyMap(self.K, *how)[0]
        source = self._pixels(lens.distort(ideal._normalised(ideal.pixel_grid().reshape(-1, 2))))
        return source.reshape(ideal.height, ideal.width, 2).astype(np.float32)

    def _normalised(self, pixels: Array) -> Array:
        """(..., 2) pixels → (..., 2) coordinates on the plane at depth one."""
        return np.asarray((pixels - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T)

    def _pixels(self, xy: Array) -> Array:
        """(..., 2) coordinates on the plane at depth one → (..., 2) pixels."""
        return xy @ self.K[:2, :2].T + self.K[:2, 2]

    def _ideal_window(self, lens: Lens) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a window of the ideal camera's pixels that the photo covers."""
        n, w, h = 65, self.width, self.height
        u, v, zero = np.linspace(0, w - 1, n), np.linspace(0, h - 1, n), np.zeros(n)
        edge = np.concatenate(  # left, right, top, bottom, one after another
            [np.column_stack(p) for p in ((zero, v), (zero + w - 1, v), (u, zero), (u, zero + h - 1))]
        )
        ideal = self._pixels(lens.undistort(self._normalised(edge))).reshape(4, n, 2)
        # Beyond twice the photo a wide-angle picture is only stretched; NaN is beyond the horizon.
        low = np.fmax([-w / 2, -h / 2], [np.fmax.reduce(ideal[0, :, 0]), np.fmax.reduce(ideal[2, :, 1])])
        high = np.fmin([1.5 * w, 1.5 * h], [np.fmin.reduce(ideal[1, :, 0]), np.fmin.reduce(ideal[3, :, 1])])
        # Where the edge has no inverse the window may still extend beyond the photo or a fold: shrink it.
        axis = np.clip(self.K[:2, 2], 0, (w - 1, h - 1))
        while (high - low > 8).all() and not self._covers(low, high, lens):
            low, high = axis + 0.95 * (low - axis), axis + 0.95 * (high - axis)
        return low[0], low[1], high[0], high[1]

    def _covers(self, low: Array, high: Array, lens: Lens) -> bool:
        """Whether the photo covers the window from ``low`` to ``high`` (x, y), each place only once."""
        x, y = np.meshgrid(np.linspace(low[0], high[0], 33), np.linspace(low[1], high[1], 33))
        pixels = np.column_stack([x.ravel(), y.ravel()])
        source = self._pixels(lens.distort(self._normalised(pixels)))
        if not ((source >= -1) & (source <= (self.width, self.height))).all():
            return False
        back = self._pixels(lens.undistort(self._normalised(source)))
        return bool((np.abs(back - pixels) < 0.1).all())


def look_at(center: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 1.0, 0.0)) -> tuple[Array, Array]:
    """Rotation (3, 3) and translation (3,) of a camera at ``center`` that looks at ``target``.

    ``up`` is the world direction that points up in the image.
    """
    center = np.asarray(center, np.float64)
    z = np.asarray(target, np.float64) - center
    z /= np.linalg.norm(z)
    x = np.cross(z, np.asarray(up, np.float64))
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    return R, -R @ center


@runtime_checkable
class Lens(Protocol):
    """Maps ideal normalised image coordinates (x/z, y/z) to distorted ones, and back."""

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        ...

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where there is no inverse."""
        ...


@dataclass(frozen=True)
class OpenCVLens:
    """OpenCV's rational lens with thin prism and tilted sensor.

    The formula is the one under "Camera Calibration and 3D Reconstruction" in OpenCV's documentation. It
    is computed here because ``cv2.projectPoints`` takes a microsecond per point: a second per megapixel.

    Args:
        coefficients: (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1..s4[, tx, ty]]]]), 4, 5, 8, 12 or 14 numbers.

    Raises:
        ValueError: another number of coefficients, or one that is not finite.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) not in (4, 5, 8, 12, 14):
            raise ValueError(f"expected 4, 5, 8, 12 or 14 lens coefficients, got {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all():
            raise ValueError("a lens coefficient is not finite")

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        coefficients = (*self.coefficients, *(0.0,) * (14 - len(self.coefficients)))
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty = coefficients
        x, y = np.asarray(xy, np.float64).T
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        twice_xy = 2 * x * y
        distorted_x = x * radial + p1 * twice_xy + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2)
        distorted_y = y * radial + p1 * (r2 + 2 * y * y) + p2 * twice_xy + r2 * (s3 + r2 * s4)
        out = np.stack([distorted_x, distorted_y], -1)
        return _tilt(out, tx, ty) if tx or ty else out

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where the lens folds over and has no inverse."""
        return invert(self.distort, xy)


def invert(distort: Callable[[Array], Array], xy: Array, *, tolerance: float = 1e-9) -> Array:
    """Solve ``distort(x) = xy`` by Newton's method, starting at ``xy``.

    Args:
        distort: (N, 2) → (N, 2), smooth, near the identity around the axis.
        xy: (N, 2).
        tolerance: largest remaining difference that counts as solved.

    Returns:
        (N, 2); NaN where the iteration does not converge or ends beyond a fold (where the derivative
        turns a direction around: its determinant or trace is ≤ 0).
    """
    goal = np.asarray(xy, np.float64).reshape(-1, 2)
    x, step = goal.copy(), 1e-6 * np.eye(2)
    with np.errstate(all="ignore"):
        for _ in range(25):
            error = distort(x) - goal
            dx = (distort(x + step[0]) - distort(x - step[0])) / 2e-6
            dy = (distort(x + step[1]) - distort(x - step[1])) / 2e-6
            det = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
            unfolded = (det > 0) & (dx[:, 0] + dy[:, 1] > 0)
            solved = (np.abs(error) <= tolerance).all(1) & unfolded
            move_x = dy[:, 1] * error[:, 0] - dy[:, 0] * error[:, 1]
            move_y = dx[:, 0] * error[:, 1] - dx[:, 1] * error[:, 0]
            move = np.stack([move_x, move_y], -1) / det[:, None]
            # Far from the solution a full step may jump over the fold.
            length = np.linalg.norm(move, axis=1, keepdims=True)
            move *= np.minimum(1.0, 0.5 / np.maximum(length, 1e-300))
            if np.abs(move).max(initial=0.0, where=np.isfinite(move)) < 1e-14:
                break
            x = x - move
    return np.where(solved[:, None], x, np.nan) if len(goal) else goal


def _tilt(xy: Array, tx: float, ty: float) -> Array:
    """(N, 2) on the untilted sensor → (N, 2) on one tilted by ``tx``, ``ty`` radians (Scheimpflug)."""
    about_x = np.array([[1, 0, 0], [0, np.cos(tx), np.sin(tx)], [0, -np.sin(tx), np.cos(tx)]])
    about_y = np.array([[np.cos(ty), 0, -np.sin(ty)], [0, 1, 0], [np.sin(ty), 0, np.cos(ty)]])
    R = about_y @ about_x
    onto_plane = np.array([[R[2, 2], 0, -R[0, 2]], [0, R[2, 2], -R[1, 2]], [0, 0, 1]]) @ R
    out = np.column_stack([xy, np.ones(len(xy))]) @ onto_plane.T
    return out[:, :2] / out[:, 2:]
