"""COLMAP's camera models as a :class:`~mesoface.geometry.lens.Lens`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pycolmap

from mesoface.geometry.lens import Array, Lens, OpenCVLens, invert


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
        if wrong.any():  # COLMAP's own iteration gives up early far from the axis
            ideal[wrong] = invert(self.distort, xy[wrong])
        return ideal


def intrinsics(camera: Any) -> tuple[Array, Lens | None]:
    """A pycolmap camera's K (3, 3), pixel centres at integers, and its lens.

    Raises:
        ValueError: the model is a panorama's, or its numbers are impossible.
    """
    if camera.is_spherical():
        raise ValueError(f"the camera model {camera.model_name} is a panorama's")
    if not camera.verify_params() or not np.isfinite(camera.params).all():
        raise ValueError("its parameters are not finite, or too few")
    fx, fy = (camera.params[i] for i in (camera.focal_length_idxs() * 2)[:2])
    cx, cy = (camera.params[i] for i in camera.principal_point_idxs())
    K = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    return K, _lens(
        camera.model_name, tuple(float(k) for k in camera.params[len(camera.focal_length_idxs()) + 2 :])
    )


def _lens(model: str, k: tuple[float, ...]) -> Lens | None:
    """OpenCV's lens where the model is a case of it (it is the faster one), else COLMAP's own."""
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return None
    if model == "SIMPLE_RADIAL":
        return OpenCVLens((k[0], 0.0, 0.0, 0.0))
    if model == "RADIAL":
        return OpenCVLens((k[0], k[1], 0.0, 0.0))
    if model in ("OPENCV", "FULL_OPENCV"):
        return OpenCVLens(k)
    return ColmapLens(model, k)
