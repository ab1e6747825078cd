"""Meshroom's and AliceVision's ``cameras.sfm``, in the layout 1.2.8, an intrinsic a view."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.meshroom import NAME as NAME
from mesoface.captures.formats.writers.terms import brown_of, fisheye_of, refuse_skew

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False
SENSOR = 36.0  # mm; the file has the focal length in millimetres of a sensor, of which only the ratio counts


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``cameras.sfm``; all its numbers are text.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, or there is skew.
    """
    content: dict[str, Any] = {"version": ["1", "2", "8"]}
    content["views"] = [_view(folder, id, view) for id, view in enumerate(views, 1)]
    content["intrinsics"] = [_intrinsic(id, view) for id, view in enumerate(views, 1)]
    content["poses"] = [_pose(id, view) for id, view in enumerate(views, 1)]
    (folder / "cameras.sfm").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _view(folder: Path, id: int, view: ViewSource) -> dict[str, Any]:
    ids = {key: str(id) for key in ("viewId", "poseId", "intrinsicId", "frameId")}
    path = view.image_path.relative_to(folder).as_posix()
    return {**ids, "path": path, "width": str(view.camera.width), "height": str(view.camera.height)}


def _intrinsic(id: int, view: ViewSource) -> dict[str, Any]:
    refuse_skew(view)
    camera, fisheye = view.camera, fisheye_of(view)
    if fisheye is not None:
        kind, coefficients = "fisheye", fisheye
    else:
        k1, k2, k3, _, p1, p2 = brown_of(view)
        coefficients = (k1, k2, k3, p1, p2)
        kind = "brown" if any(coefficients) else "none"
    K, (width, height) = camera.K, (camera.width, camera.height)
    return {
        "intrinsicId": str(id),
        "width": str(width),
        "height": str(height),
        "sensorWidth": repr(SENSOR),
        "sensorHeight": repr(SENSOR * height / width),
        "serialNumber": "",
        "type": "pinhole",
        "initializationMode": "calibrated",
        "initialFocalLength": repr(float(K[0, 0] / width * SENSOR)),
        "focalLength": repr(float(K[0, 0] / width * SENSOR)),
        "pixelRatio": repr(float(K[1, 1] / K[0, 0])),
        "pixelRatioLocked": "false",
        "principalPoint": _texts([K[0, 2] - width / 2, K[1, 2] - height / 2]),
        "distortionInitializationMode": "calibrated",
        "distortionParams": _texts(coefficients) if kind != "none" else "",
        "undistortionOffset": ["0", "0"],
        "undistortionParams": "",
        "distortionType": kind,
        "undistortionType": "none",
        "locked": "true",
    }


def _pose(id: int, view: ViewSource) -> dict[str, Any]:
    """A pose; the rotation column by column."""
    transform = {"rotation": _texts(view.camera.R.T), "center": _texts(view.camera.center)}
    return {"poseId": str(id), "pose": {"transform": transform, "locked": "1"}}


def _texts(values: ArrayLike) -> list[str]:
    return [repr(float(value)) for value in np.ravel(values)]
