"""What a format can say of a camera, and what it cannot."""

from __future__ import annotations

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.lenses import BrownLens, ColmapLens
from mesoface.geometry.lens import OpenCVLens

Brown = tuple[float, float, float, float, float, float]


class Unsupported(ValueError):
    """A format has no words for a camera.

    Args:
        view: name of the view.
        what: what cannot be said.
        undistort: whether undistorted photos would help.
    """

    def __init__(self, view: str, what: str, *, undistort: bool):
        super().__init__(f"view {view}: {what}")
        self.undistort = undistort


def brown_of(view: ViewSource, *, terms: int = 3) -> Brown:
    """A view's lens as k1 k2 k3 k4 p1 p2, OpenCV's p1 and p2; zeros without a lens.

    Args:
        view: the view.
        terms: how many radial terms the format has, 3 or 4.

    Raises:
        Unsupported: the lens is none of Brown's, or needs more terms.
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


def refuse_skew(view: ViewSource) -> None:
    """Raise where the image's axes are not at right angles, for formats whose cameras' always are.

    Raises:
        Unsupported: there is skew.
    """
    if view.camera.K[0, 1] != 0:
        raise Unsupported(
            view.name, f"its pixels are skewed (K[0][1] = {view.camera.K[0, 1]:g})", undistort=False
        )


def refuse_aspect(view: ViewSource) -> None:
    """Raise where fx and fy differ, for formats that have one focal length.

    Raises:
        Unsupported: they differ by more than a millionth.
    """
    fx, fy = view.camera.K[0, 0], view.camera.K[1, 1]
    if abs(fx - fy) > 1e-6 * fx:
        raise Unsupported(view.name, f"its pixels are not square (fx {fx:g}, fy {fy:g})", undistort=False)
