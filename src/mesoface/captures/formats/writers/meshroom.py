"""Meshroom's and AliceVision's ``cameras.sfm``, in the layout 1.2.8, one intrinsic per view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.writers.terms import as_texts, brown_or_fisheye, refuse_skew, write_json

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
    write_json(folder / "cameras.sfm", content)


def _view(folder: Path, id: int, view: ViewSource) -> dict[str, Any]:
    ids = {key: str(id) for key in ("viewId", "poseId", "intrinsicId", "frameId")}
    path = view.image_path.relative_to(folder).as_posix()
    return {**ids, "path": path, "width": str(view.camera.width), "height": str(view.camera.height)}


def _intrinsic(id: int, view: ViewSource) -> dict[str, Any]:
    refuse_skew(view)
    is_fisheye, coefficients = brown_or_fisheye(view)
    kind = "fisheye" if is_fisheye else "brown" if any(coefficients) else "none"
    K, width, height = view.camera.K, view.camera.width, view.camera.height
    focal = repr(float(K[0, 0] / width * SENSOR))
    return {
        "intrinsicId": str(id),
        "width": str(width),
        "height": str(height),
        "sensorWidth": repr(SENSOR),
        "sensorHeight": repr(SENSOR * height / width),
        "serialNumber": "",
        "type": "pinhole",
        "initializationMode": "calibrated",
        "initialFocalLength": focal,
        "focalLength": focal,
        "pixelRatio": repr(float(K[1, 1] / K[0, 0])),
        "pixelRatioLocked": "false",
        "principalPoint": as_texts([K[0, 2] - width / 2, K[1, 2] - height / 2]),
        "distortionInitializationMode": "calibrated",
        "distortionParams": as_texts(coefficients) if kind != "none" else "",
        "undistortionOffset": ["0", "0"],
        "undistortionParams": "",
        "distortionType": kind,
        "undistortionType": "none",
        "locked": "true",
    }


def _pose(id: int, view: ViewSource) -> dict[str, Any]:
    """A pose; the rotation column by column."""
    transform = {"rotation": as_texts(view.camera.R.T), "center": as_texts(view.camera.center)}
    return {"poseId": str(id), "pose": {"transform": transform, "locked": "1"}}
