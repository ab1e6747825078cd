"""OpenMVG's ``sfm_data.json``, photos anywhere below the folder.

Rotation world → camera in OpenCV's axes and the camera's centre; its image sampling and its features put the
centre of the top-left pixel at (0, 0). The file is what the library cereal writes of C++ objects: the name of
a class stands with the first object of it, the others refer to it by number.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.files import listed, make_camera, parted, read_json, validated
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.captures.formats.photos import Photos
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera
from mesoface.geometry.lens import Lens, OpenCVLens

NAME = "openmvg"
LOOKS_FOR = "sfm_data.json"
NEW_NAME = 1 << 31  # cereal marks a number that it names for the first time

BASES = 4  # how many base classes deep an object is looked into

_Numbers = Annotated[list[FiniteFloat], Field(max_length=16)]
_Row = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Id = Annotated[int, Field(ge=0, lt=1 << 33)]


class _Object(BaseModel):
    """What cereal wraps a pointer in."""

    model_config = ConfigDict(extra="ignore")
    data: dict[str, Any]


class _Pointer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    polymorphic_id: _Id = 0
    polymorphic_name: str | None = None
    ptr_wrapper: _Object


class _Pose(BaseModel):
    model_config = ConfigDict(extra="ignore")
    rotation: tuple[_Row, _Row, _Row]
    center: _Row


class _PointerEntry(BaseModel):
    key: _Id
    value: _Pointer


class _PoseEntry(BaseModel):
    key: _Id
    value: _Pose


class _SfmData(BaseModel):
    """The whole file, but for its points."""

    model_config = ConfigDict(extra="ignore")
    root_path: str = ""
    views: list[_PointerEntry]
    intrinsics: list[_PointerEntry]
    extrinsics: list[_PoseEntry]


class _View(BaseModel):
    model_config = ConfigDict(extra="ignore")
    local_path: str = ""
    filename: Annotated[str, Field(min_length=1)]
    id_intrinsic: _Id
    id_pose: _Id


class _Intrinsic(BaseModel):
    """All of OpenMVG's camera classes; each has one of the last four."""

    model_config = ConfigDict(extra="ignore")
    width: Annotated[int, Field(ge=1, le=1 << 20)]
    height: Annotated[int, Field(ge=1, le=1 << 20)]
    focal_length: Annotated[FiniteFloat, Field(gt=0)]
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
    return (path / "sfm_data.json").is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder with a ``sfm_data.json``. Views without a pose or a photo are left out and noted.

    Raises:
        CaptureError: no such file, or one that is damaged, or a camera model that has no counterpart.
    """
    file = path / "sfm_data.json"
    if not file.is_file():
        raise CaptureError("no sfm_data.json here", path=path, remedy="name a folder that has one")
    content = validated(_SfmData, read_json(file), said_by=file)
    classes = _class_names(content.intrinsics)
    intrinsics = {entry.key: entry for entry in content.intrinsics}
    poses = {entry.key: entry.value for entry in content.extrinsics}
    listed_views = [
        validated(_View, _flat(entry.value.ptr_wrapper.data), said_by=file) for entry in content.views
    ]
    posed, unposed = parted(listed_views, lambda v: v.id_pose in poses and v.id_intrinsic in intrinsics)
    photos = Photos(path)
    paths = [f"{content.root_path}/{view.local_path}/{view.filename}" for view in posed]
    matched, missing = photos.match(zip(paths, posed, strict=True), said_by=file)
    views = []
    for name, view, photo in matched:
        entry = intrinsics[view.id_intrinsic]
        camera = _camera(name, entry, classes.get(_number_of(entry)), poses[view.id_pose], file)
        views.append(ViewSource(name, photo, camera, photos.mask_of(photo)))
    notes = []
    if unposed:
        names = [view.filename for view in unposed]
        notes.append(f"without a pose in sfm_data.json, left out: {listed(names)}")
    if missing:
        names = [PurePosixPath(said).name for said in missing]
        notes.append(f"in sfm_data.json but not on disk, left out: {listed(names)}")
    if extra := photos.others(photo for _, _, photo in matched):
        notes.append(f"photos without a pose: {listed(extra)}")
    return CaptureSource(path, NAME, tuple(views), tuple(notes))


def _number_of(entry: _PointerEntry) -> int:
    return entry.value.polymorphic_id & ~NEW_NAME


def _class_names(entries: list[_PointerEntry]) -> dict[int, str]:
    """{number of a class: its name}."""
    return {_number_of(e): e.value.polymorphic_name for e in entries if e.value.polymorphic_name is not None}


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """An object with what cereal writes of its base classes, as ``value0``, put beside its own."""
    for _ in range(BASES):
        base = data.get("value0")
        if not isinstance(base, dict):
            break
        data = {**base, **{key: value for key, value in data.items() if key != "value0"}}
    return data


def _camera(name: str, entry: _PointerEntry, kind: str | None, pose: _Pose, file: Path) -> Camera:
    """A view's camera."""
    if kind not in _COEFFICIENTS:
        raise CaptureError(
            f"intrinsic {entry.key}: the camera model {kind} has no counterpart here",
            path=file,
            remedy=f"calibrate with one of {', '.join(_COEFFICIENTS)}",
        )
    one = validated(_Intrinsic, _flat(entry.value.ptr_wrapper.data), said_by=file)
    key = _COEFFICIENTS[kind]
    k = getattr(one, key) if key is not None else []
    if k is None:
        raise CaptureError(
            f"intrinsic {entry.key} has no {key}", path=file, remedy="export it again from OpenMVG"
        )
    (cx, cy), f, R = one.principal_point, one.focal_length, np.array(pose.rotation)
    K = [[f, 0, cx], [0, f, cy], [0, 0, 1]]
    size = (one.width, one.height)
    return make_camera(name, K, R, -R @ pose.center, size, _lens(kind, tuple(k)), said_by=file)


def _lens(kind: str, k: tuple[float, ...]) -> Lens | None:
    if kind == "fisheye":
        return ColmapLens("OPENCV_FISHEYE", k)
    if not any(k):
        return None
    k1, k2, k3, t1, t2 = (*k, 0.0, 0.0, 0.0, 0.0)[:5]
    return OpenCVLens((k1, k2, t1, t2, k3))
