"""Lenses beyond :mod:`mesoface.geometry.camera`: COLMAP's, and Brown's with a fourth radial term."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pycolmap

from mesoface.geometry.camera import Array, Lens, OpenCVLens, invert


@dataclass(frozen=True)
class BrownLens:
    """Radial polynomial up to r⁸, and tangential terms (D. C. Brown, "Close-range camera calibration", 1971).

    Metashape and RealityCapture have four radial terms, where OpenCV stops at three.

    Args:
        coefficients: (k1, k2, k3, k4, p1, p2), with OpenCV's p1 and p2: p1 goes with r² + 2y² in y, p2 with
            r² + 2x² in x.

    Raises:
        ValueError: another number of coefficients, or one that is not finite.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) != 6:
            raise ValueError(f"expected 6 lens coefficients, got {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all():
            raise ValueError("a lens coefficient is not finite")

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted."""
        k1, k2, k3, k4, p1, p2 = self.coefficients
        x, y = np.asarray(xy, np.float64).T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([u, v], -1)

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where the lens folds over and has no inverse."""
        return invert(self.distort, xy)


def brown_lens(k1: float, k2: float, k3: float, k4: float, p1: float, p2: float) -> Lens | None:
    """The lens of these coefficients: None where all are 0, OpenCV's (the faster one) where k4 is 0.

    Raises:
        ValueError: a coefficient is not finite.
    """
    if not any((k1, k2, k3, k4, p1, p2)):
        return None
    return BrownLens((k1, k2, k3, k4, p1, p2)) if k4 else OpenCVLens((k1, k2, p1, p2, k3))


@dataclass(frozen=True)
class ColmapLens:
    """A camera model of COLMAP without its focal length and principal point.

    Args:
        model: COLMAP's name of it, as ``"OPENCV_FISHEYE"``.
        parameters: what follows the focal length(s) and the principal point in COLMAP's list.

    Raises:
        ValueError: COLMAP has no such model, or it takes another number of parameters.
    """

    model: str
    parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        if not np.isfinite(self.parameters).all():
            raise ValueError("a lens coefficient is not finite")
        if not self._camera.verify_params():
            raise ValueError(f"{len(self.parameters)} lens coefficients do not fit the model {self.model}")

    @cached_property
    def _camera(self) -> Any:
        """The pycolmap camera with focal length 1 and principal point 0."""
        camera = pycolmap.Camera.create_from_model_name(1, self.model, 1.0, 1, 1)
        unit = [1.0] * len(camera.focal_length_idxs()) + [0.0, 0.0]
        camera.params = [*unit, *self.parameters]
        return camera

    def distort(self, xy: Array) -> Array:
        """(N, 2) ideal → (N, 2) distorted; NaN where the model has no image of the point."""
        points = np.column_stack([xy, np.ones(len(xy))])
        return np.asarray(self._camera.img_from_cam(points)).reshape(-1, 2)

    def undistort(self, xy: Array) -> Array:
        """(N, 2) distorted → (N, 2) ideal; NaN where there is no inverse."""
        xy = np.ascontiguousarray(xy, np.float64).reshape(-1, 2)
        if not len(xy):
            return xy
        ideal = np.asarray(self._camera.cam_from_img(xy)).reshape(-1, 2)
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(self.distort(ideal) - xy) < 1e-9).all(1)
        if wrong.any():  # COLMAP's own iteration stops early far from the axis
            ideal[wrong] = invert(self.distort, xy[wrong])
        return ideal
