"""OpenMVG's ``sfm_data.json``, photos anywhere below the folder.

Rotation world → camera in OpenCV's axes and the camera's centre; its image sampling and its features put the
centre of the top-left pixel at (0, 0). The library cereal writes the file from C++ objects: the first object
of a class has the name of the class, the others have its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AliasPath, Field, FiniteFloat

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import (
    ColmapLens,
    brown_lens,
    brown_or_fisheye,
    refuse_aspect,
    refuse_skew,
)
from mesoface.captures.formats.photos import Photos
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera, Lens

NAME = "openmvg"
LOOKS_FOR = "sfm_data.json"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False
_NEW_NAME = 1 << 31  # cereal marks a number that it names for the first time
_NO_NAME = 1 << 30  # its number for an object whose class is the declared one
_BASES = 4  # of how many base classes the fields are looked up

_Numbers = Annotated[list[FiniteFloat], Field(max_length=16)]
_Rows = tuple[files.Three, files.Three, files.Three]
_Id = Annotated[int, Field(ge=0, lt=1 << 33)]


class _Object(files.Lenient):
    """cereal's pointer to an object of some class."""

    key: _Id
    class_number: _Id = Field(0, validation_alias=AliasPath("value", "polymorphic_id"))
    class_name: str | None = Field(None, validation_alias=AliasPath("value", "polymorphic_name"))
    data: dict[str, Any] = Field(validation_alias=AliasPath("value", "ptr_wrapper", "data"))


class _Pose(files.Lenient):
    key: _Id
    rotation: _Rows = Field(validation_alias=AliasPath("value", "rotation"))
    center: files.Three = Field(validation_alias=AliasPath("value", "center"))


class _SfmData(files.Lenient):
    """The whole file except its points."""

    root_path: str = ""
    views: list[_Object]
    intrinsics: list[_Object]
    extrinsics: list[_Pose]


class _View(files.Lenient):
    local_path: str = ""
    filename: Annotated[str, Field(min_length=1)]
    id_intrinsic: _Id
    id_pose: _Id


class _Intrinsic(files.Lenient):
    """All of OpenMVG's camera classes; each has one of the last four."""

    width: files.Side
    height: files.Side
    focal_length: files.Positive
    principal_point: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
    disto_k1: Annotated[_Numbers, Field(min_length=1, max_length=1)] | None = None
    disto_k3: Annotated[_Numbers, Field(min_length=3, max_length=3)] | None = None
    disto_t2: Annotated[_Numbers, Field(min_length=5, max_length=5)] | None = None
    fisheye: Annotated[_Numbers, Field(min_length=4, max_length=4)] | None = None


_COEFFICIENTS = {
    "pinhole": None,
    "pinhole_radial_k1": "disto_k1",
    "pinhole_radial_k3": "disto_k3",
    "pinhole_brown_t2": "disto_t2",
    "fisheye": "fisheye",
}


def detect(path: Path) -> bool:
    """Whether ``path`` has a ``sfm_data.json``."""
    return (path / LOOKS_FOR).is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder with a ``sfm_data.json``. Views without a pose or a photo are left out and noted.

    Raises:
        CaptureError: no such file, or one that is damaged, or a camera model that is not supported.
    """
    file = files.required(path, LOOKS_FOR)
    content = files.validated(_SfmData, files.read_json(file), file=file)
    classes = {_number_of(one): one.class_name for one in content.intrinsics if one.class_name is not None}
    intrinsics = {one.key: one for one in content.intrinsics}
    poses = {pose.key: pose for pose in content.extrinsics}

    def camera_of(name: str, view: _View, photo: Path) -> Camera:
        one = intrinsics[view.id_intrinsic]
        return _camera(name, one, classes.get(_number_of(one)), poses[view.id_pose], file)

    every = [files.validated(_View, _flat(one.data), file=file) for one in content.views]
    posed, unposed = files.parted(every, lambda v: v.id_pose in poses and v.id_intrinsic in intrinsics)
    described = [(f"{content.root_path}/{view.local_path}/{view.filename}", view) for view in posed]
    notes = files.notes_on({"without a pose in sfm_data.json, left out": [view.filename for view in unposed]})
    return Photos(path).source(NAME, described, camera_of, file=file, notes=notes)


def _number_of(one: _Object) -> int:
    """The number of an object's class."""
    return one.class_number & ~_NEW_NAME


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """An object's fields and those of its base classes, which cereal nests as ``value0``."""
    for _ in range(_BASES):
        base = data.get("value0")
        if not isinstance(base, dict):
            break
        data = {**base, **{key: value for key, value in data.items() if key != "value0"}}
    return data


def _camera(name: str, entry: _Object, kind: str | None, pose: _Pose, file: Path) -> Camera:
    """A view's camera."""
    if kind not in _COEFFICIENTS:
        raise CaptureError(
            f"intrinsic {entry.key}: the camera model {kind} is not supported",
            path=file,
            remedy=f"calibrate with one of {', '.join(_COEFFICIENTS)}",
        )
    one = files.validated(_Intrinsic, _flat(entry.data), file=file)
    key = _COEFFICIENTS[kind]
    k = getattr(one, key) if key is not None else []
    if k is None:
        raise CaptureError(
            f"intrinsic {entry.key} has no {key}", path=file, remedy="export it again from OpenMVG"
        )
    (cx, cy), f, R = one.principal_point, one.focal_length, np.array(pose.rotation)
    K = [[f, 0, cx], [0, f, cy], [0, 0, 1]]
    size = (one.width, one.height)
    return files.make_camera(name, K, R, -R @ pose.center, size, _lens(kind, tuple(k)), file=file)


def _lens(kind: str, k: tuple[float, ...]) -> Lens | None:
    if kind == "fisheye":
        return ColmapLens("OPENCV_FISHEYE", k)
    k1, k2, k3, t1, t2 = (*k, 0.0, 0.0, 0.0, 0.0, 0.0)[:5]
    return brown_lens(k1, k2, k3, 0.0, t1, t2)


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``sfm_data.json``; paths are relative to ``images``, which ``root_path`` names.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, pixels are not
            square, or there is skew.
    """
    numbers: dict[str, int] = {}
    content: dict[str, Any] = {"sfm_data_version": "0.3", "root_path": "images"}
    content |= {"views": [], "intrinsics": [], "extrinsics": [], "structure": [], "control_points": []}
    for id, view in enumerate(views):
        content["views"].append({"key": id, "value": _pointer(_view(folder, id, view), id, _NO_NAME)})
        name, data = _intrinsic(view)
        if name in numbers:
            value = _pointer(data, len(views) + id, numbers[name])
        else:
            numbers[name] = len(numbers) + 1
            value = _pointer(data, len(views) + id, numbers[name] | _NEW_NAME)
            value = {"polymorphic_name": name, **value}
        content["intrinsics"].append({"key": id, "value": value})
        pose = {"rotation": view.camera.R.tolist(), "center": view.camera.center.tolist()}
        content["extrinsics"].append({"key": id, "value": pose})
    files.write_json(folder / LOOKS_FOR, content)


def _pointer(data: dict[str, Any], number: int, kind: int) -> dict[str, Any]:
    """An object as cereal wraps it."""
    return {"polymorphic_id": kind, "ptr_wrapper": {"id": _NEW_NAME | (number + 1), "data": data}}


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
