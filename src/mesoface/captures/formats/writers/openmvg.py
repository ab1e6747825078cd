"""OpenMVG's ``sfm_data.json``, one intrinsic per view, without points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.openmvg import NEW_NAME
from mesoface.captures.formats.writers.terms import (
    brown_or_fisheye,
    refuse_aspect,
    refuse_skew,
    write_json,
)

PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False
_NO_NAME = 1 << 30  # cereal's number for an object whose class is the declared one


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``sfm_data.json``; paths are relative to ``images``, which ``root_path`` names.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, pixels are not
            square, or there is skew.
    """
    intrinsics = [_intrinsic(view) for view in views]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in intrinsics), 1)}
    named: set[str] = set()
    content: dict[str, Any] = {"sfm_data_version": "0.3", "root_path": "images"}
    content |= {"views": [], "intrinsics": [], "extrinsics": [], "structure": [], "control_points": []}
    for id, (view, (name, data)) in enumerate(zip(views, intrinsics, strict=True)):
        content["views"].append({"key": id, "value": _pointer(_view(folder, id, view), id, _NO_NAME)})
        kind = _pointer(data, len(views) + id, numbers[name] | (0 if name in named else NEW_NAME))
        content["intrinsics"].append(
            {"key": id, "value": kind if name in named else {"polymorphic_name": name, **kind}}
        )
        named.add(name)
        pose = {"rotation": view.camera.R.tolist(), "center": view.camera.center.tolist()}
        content["extrinsics"].append({"key": id, "value": pose})
    write_json(folder / "sfm_data.json", content)


def _pointer(data: dict[str, Any], number: int, kind: int) -> dict[str, Any]:
    """An object as cereal wraps it."""
    return {"polymorphic_id": kind, "ptr_wrapper": {"id": NEW_NAME | (number + 1), "data": data}}


def _view(folder: Path, id: int, view: ViewSource) -> dict[str, Any]:
    size = {"width": view.camera.width, "height": view.camera.height}
    name = view.image_path.relative_to(folder / "images").as_posix()
    return {"local_path": "", "filename": name, **size, "id_view": id, "id_intrinsic": id, "id_pose": id}


def _intrinsic(view: ViewSource) -> tuple[str, dict[str, Any]]:
    """The name of OpenMVG's class, and the object."""
    refuse_skew(view)
    refuse_aspect(view)
    K = view.camera.K
    data: dict[str, Any] = {
        "width": view.camera.width,
        "height": view.camera.height,
        "focal_length": K[0, 0],
        "principal_point": [K[0, 2], K[1, 2]],
    }
    is_fisheye, coefficients = brown_or_fisheye(view)
    name, key = ("fisheye", "fisheye") if is_fisheye else ("pinhole_brown_t2", "disto_t2")
    return name, data | {key: list(coefficients)}
