"""OpenCV's FileStorage, ``calibration/<view>.yml`` per camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.writers.terms import Unsupported, fisheye_of
from mesoface.geometry.camera import OpenCVLens

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write one file per view, with the name of its photo.

    Raises:
        Unsupported: a lens is not OpenCV's.
    """
    (folder / "calibration").mkdir(exist_ok=True)
    for view in views:
        model, coefficients = _lens(view)
        storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
        storage.write("image_width", view.camera.width)
        storage.write("image_height", view.camera.height)
        storage.write("camera_matrix", np.array(view.camera.K))
        storage.write("distortion_model", model)
        storage.write("distortion_coefficients", np.array([coefficients]))
        storage.write("R", np.array(view.camera.R))
        storage.write("T", np.array(view.camera.t).reshape(3, 1))
        text = storage.releaseAndGetString()
        (folder / "calibration" / f"{view.image_path.stem}.yml").write_text(text, encoding="utf-8")


def _lens(view: ViewSource) -> tuple[str, tuple[float, ...]]:
    """The name of the model, as ROS has it, and its coefficients."""
    lens = view.camera.lens
    if (fisheye := fisheye_of(view)) is not None:
        return "fisheye", fisheye
    if lens is None:
        return "plumb_bob", (0.0,) * 5
    if isinstance(lens, OpenCVLens):
        return "plumb_bob" if len(lens.coefficients) <= 5 else "rational_polynomial", lens.coefficients
    raise Unsupported(view.name, f"OpenCV has no counterpart of {type(lens).__name__}", undistort=True)
