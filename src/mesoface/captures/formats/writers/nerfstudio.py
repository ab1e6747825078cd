"""nerfstudio's ``transforms.json``, with the intrinsics in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.writers.terms import brown_or_fisheye, refuse_skew, write_json

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{stem}.png", False


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``transforms.json``.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, or there is skew.
    """
    content = {"frames": [_frame(folder, view) for view in views]}
    write_json(folder / "transforms.json", content)


def _frame(folder: Path, view: ViewSource) -> dict[str, Any]:
    refuse_skew(view)
    camera, (is_fisheye, coefficients) = view.camera, brown_or_fisheye(view)
    pose = np.eye(4)
    pose[:3, :3] = camera.R.T @ np.diag([1.0, -1.0, -1.0])  # OpenCV → OpenGL axes, camera → world
    pose[:3, 3] = camera.center
    keys = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "k3", "p1", "p2")
    masked = {} if view.mask_path is None else {"mask_path": view.mask_path.relative_to(folder).as_posix()}
    return {
        "file_path": view.image_path.relative_to(folder).as_posix(),
        **masked,
        "camera_model": "OPENCV_FISHEYE" if is_fisheye else "OPENCV",
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.K[0, 0],
        "fl_y": camera.K[1, 1],
        "cx": camera.K[0, 2] + 0.5,
        "cy": camera.K[1, 2] + 0.5,
        **dict(zip(keys, coefficients, strict=True)),
        "transform_matrix": pose.tolist(),
    }
