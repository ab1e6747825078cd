"""nerfstudio's ``transforms.json``, with the intrinsics in every frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.nerfstudio import NAME as NAME
from mesoface.captures.formats.writers.terms import brown_of, fisheye_of, refuse_skew

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{stem}.png", False


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``transforms.json``.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, or there is skew.
    """
    content = {"frames": [_frame(folder, view) for view in views]}
    (folder / "transforms.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _frame(folder: Path, view: ViewSource) -> dict[str, Any]:
    refuse_skew(view)
    camera, fisheye = view.camera, fisheye_of(view)
    pose = np.eye(4)
    pose[:3, :3] = camera.R.T @ np.diag([1.0, -1.0, -1.0])  # OpenCV → OpenGL axes, camera → world
    pose[:3, 3] = camera.center
    if fisheye is not None:
        lens = dict(zip(("k1", "k2", "k3", "k4"), fisheye, strict=True))
    else:
        k1, k2, k3, _, p1, p2 = brown_of(view)
        lens = {"k1": k1, "k2": k2, "k3": k3, "p1": p1, "p2": p2}
    masked = {} if view.mask_path is None else {"mask_path": view.mask_path.relative_to(folder).as_posix()}
    return {
        "file_path": view.image_path.relative_to(folder).as_posix(),
        **masked,
        "camera_model": "OPENCV" if fisheye is None else "OPENCV_FISHEYE",
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.K[0, 0],
        "fl_y": camera.K[1, 1],
        "cx": camera.K[0, 2] + 0.5,
        "cy": camera.K[1, 2] + 0.5,
        **lens,
        "transform_matrix": pose.tolist(),
    }
