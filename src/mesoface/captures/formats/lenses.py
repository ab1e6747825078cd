"""Lenses beyond :mod:`mesoface.geometry.camera`, and which cameras the formats of others can represent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pycolmap

from mesoface.captures.capture import ViewSource
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


Brown = tuple[float, float, float, float, float, float]


class Unsupported(ValueError):
    """A format cannot represent a camera.

    Args:
        view: name of the view.
        what: what cannot be represented.
        undistort: whether undistorted photos would help.
    """

    def __init__(self, view: str, what: str, *, undistort: bool):
        super().__init__(f"view {view}: {what}")
        self.undistort = undistort


def brown_of(view: ViewSource, *, terms: int = 3) -> Brown:
    """A view's lens as k1 k2 k3 k4 p1 p2, OpenCV's p1 and p2; zeros without a lens.

    Args:
        view: the view.
        terms: the number of radial terms that the format has, 3 or 4.

    Raises:
        Unsupported: the lens is not Brown's, or needs more terms.
    """
    lens = view.camera.lens
    if lens is None:
        return (0.0,) * 6
    if isinstance(lens, OpenCVLens) and not any(lens.coefficients[5:]):
        k1, k2, p1, p2, k3 = (*lens.coefficients, 0.0)[:5]
        return k1, k2, k3, 0.0, p1, p2
    if isinstance(lens, BrownLens) and terms == 4:
        k1, k2, k3, k4, p1, p2 = lens.coefficients
        return k1, k2, k3, k4, p1, p2
    kind = lens.model.lower() if isinstance(lens, ColmapLens) else "rational, or with more terms"
    raise Unsupported(
        view.name, f"its lens ({kind}) is not Brown's with {terms} radial terms at most", undistort=True
    )


def fisheye_of(view: ViewSource) -> tuple[float, ...] | None:
    """The four coefficients of OpenCV's fisheye, or None where the lens is another."""
    lens = view.camera.lens
    return lens.parameters if isinstance(lens, ColmapLens) and lens.model == "OPENCV_FISHEYE" else None


def brown_or_fisheye(view: ViewSource) -> tuple[bool, tuple[float, ...]]:
    """Whether a view's lens is OpenCV's fisheye; its k1 k2 k3 k4, else Brown's k1 k2 k3 p1 p2.

    Raises:
        Unsupported: the lens is neither.
    """
    if (fisheye := fisheye_of(view)) is not None:
        return True, fisheye
    k1, k2, k3, _, p1, p2 = brown_of(view)
    return False, (k1, k2, k3, p1, p2)


def refuse_skew(view: ViewSource) -> None:
    """For formats without skew.

    Raises:
        Unsupported: the image's axes are not at right angles.
    """
    if view.camera.K[0, 1] != 0:
        raise Unsupported(
            view.name, f"its pixels are skewed (K[0][1] = {view.camera.K[0, 1]:g})", undistort=False
        )


def refuse_aspect(view: ViewSource) -> None:
    """For formats with one focal length.

    Raises:
        Unsupported: fx and fy differ by more than a millionth.
    """
    fx, fy = view.camera.K[0, 0], view.camera.K[1, 1]
    if abs(fx - fy) > 1e-6 * fx:
        raise Unsupported(view.name, f"its pixels are not square (fx {fx:g}, fy {fy:g})", undistort=False)
