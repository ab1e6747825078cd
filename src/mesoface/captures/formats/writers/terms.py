"""Cameras in the terms of other programs, and what these cannot represent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.geometry.camera import OpenCVLens

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


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def as_texts(values: ArrayLike) -> list[str]:
    """Numbers as text that reads back to the same floats, row by row."""
    return [repr(float(value)) for value in np.ravel(values)]
