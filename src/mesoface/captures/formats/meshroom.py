"""Meshroom's and AliceVision's ``cameras.sfm`` (SfMData as JSON), photos anywhere below the folder.

All numbers are text. Rotations are world → camera in OpenCV's axes, written column by column, beside the
camera's centre. The layout depends on the version in the file: up to 1.2.0 the principal point is relative to
the corner, later to the middle of the image; up to 1.2.1 the focal length is in pixels, later in millimetres
of the sensor; before 1.2.5 ``pixelRatio`` is fx / fy, later fy / fx. Image sampling puts the centre of the
top-left pixel at (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from pydantic import AliasPath, Field, FiniteFloat, field_validator

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import ColmapLens, brown_lens, brown_or_fisheye, refuse_skew
from mesoface.captures.formats.photos import Photos
from mesoface.geometry.camera import Array, Camera, Lens

NAME = "meshroom"
LOOKS_FOR = "one .sfm file, or sfm.json, of Meshroom or AliceVision"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False

# The names of the lenses before and after 1.2.7, which separated cameras from their distortion.
_NONE, _RADIAL = ("pinhole", "none"), ("radial1", "radialk1", "radial3", "radialk3")
_BROWN, _FISHEYE, _FOV = ("brown", "brownt2"), ("fisheye4", "fisheye"), ("fisheye1",)

_Pair = tuple[FiniteFloat, FiniteFloat]
_Version = tuple[int, int, int]


class _View(files.Lenient):
    poseId: str = ""
    intrinsicId: str = ""
    path: str = ""
    rigId: str | None = None


class _Intrinsic(files.Lenient):
    intrinsicId: str
    width: files.Side
    height: files.Side
    sensorWidth: files.Positive = 36.0
    type: str
    focalLength: FiniteFloat | None = None
    pxFocalLength: _Pair | FiniteFloat | None = None
    pixelRatio: files.Positive = 1.0
    principalPoint: _Pair
    distortionType: str | None = None
    distortionParams: tuple[FiniteFloat, ...] = ()
    undistortionType: str = "none"

    @field_validator("distortionParams", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return () if value == "" else value  # the writing library's empty list


class _Pose(files.Lenient):
    poseId: str
    rotation: Annotated[
        list[FiniteFloat],
        Field(min_length=9, max_length=9, validation_alias=AliasPath("pose", "transform", "rotation")),
    ]
    center: files.Three = Field(validation_alias=AliasPath("pose", "transform", "center"))


class _SfmData(files.Lenient):
    version: _Version
    views: tuple[_View, ...] = ()
    intrinsics: tuple[_Intrinsic, ...] = ()
    poses: tuple[_Pose, ...] = ()


def detect(path: Path) -> bool:
    """Whether ``path`` has a file of SfMData."""
    return bool(_files(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with one file of SfMData. Views without a pose or a photo are left out and noted.

    Raises:
        CaptureError: no such file or several, one that is damaged, or a lens that is not supported.
    """
    remedy = "keep the one of StructureFromMotion, or of ConvertSfMFormat with .sfm as its type"
    file = files.only_file(_files(path), "one file of cameras", folder=path, remedy=remedy)
    content = files.validated(_SfmData, files.read_json(file), file=file)
    intrinsics = {intrinsic.intrinsicId: intrinsic for intrinsic in content.intrinsics}
    poses = {pose.poseId: pose for pose in content.poses}
    posed, unposed = files.parted(content.views, lambda v: v.poseId in poses and v.intrinsicId in intrinsics)
    usable, rigged = files.parted(posed, lambda view: view.rigId is None)

    def camera_of(name: str, view: _View, photo: Path) -> Camera:
        return _camera(name, intrinsics[view.intrinsicId], poses[view.poseId], content.version, file)

    notes = files.notes_on(
        {
            "left out, views without a pose": [PurePosixPath(view.path).name for view in unposed],
            "left out, views with the pose of a rig": [PurePosixPath(view.path).name for view in rigged],
        }
    )
    described = [(view.path, view) for view in usable]
    return Photos(path).source(NAME, described, camera_of, file=file, notes=notes)


def _files(path: Path) -> list[Path]:
    """The files of SfMData in the folder: .sfm, or sfm.json."""
    candidates = [*files.list_files(path, ".sfm"), path / "sfm.json"]
    return [file for file in candidates if '"version"' in files.head_of(file)]


def _camera(name: str, one: _Intrinsic, pose: _Pose, version: _Version, file: Path) -> Camera:
    """A view's camera."""
    remedy = "calibrate with a pinhole or fisheye camera and radial or Brown distortion"
    with files.refused(file, remedy, about=f"intrinsic {one.intrinsicId}: "):
        fx, fy = _focal_lengths(one, version)
        lens = _lens(one)
    cx, cy = one.principalPoint
    if version > (1, 2, 0):
        cx, cy = cx + one.width / 2, cy + one.height / 2
    R: Array = np.array(pose.rotation).reshape(3, 3).T  # column by column
    K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    return files.make_camera(name, K, R, -R @ pose.center, (one.width, one.height), lens, file=file)


def _focal_lengths(one: _Intrinsic, version: _Version) -> tuple[float, float]:
    """Fx and fy, pixels, from the key that the file's version has them under."""
    if version < (1, 2, 2):
        if one.pxFocalLength is None:
            raise ValueError("has no pxFocalLength")
        both = one.pxFocalLength
        return both if isinstance(both, tuple) else (both, both)
    if one.focalLength is None:
        raise ValueError("has no focalLength")
    fx = one.focalLength / one.sensorWidth * one.width
    return fx, fx * one.pixelRatio if version >= (1, 2, 5) else fx / one.pixelRatio


def _lens(one: _Intrinsic) -> Lens | None:
    kind, k = (one.distortionType or one.type).lower(), tuple(one.distortionParams)
    if one.undistortionType.lower() != "none":
        raise ValueError(f"undistortion {one.undistortionType} is not supported")
    if one.distortionType is not None and one.type != "pinhole":
        raise ValueError(f"the camera type {one.type} is not supported")
    if kind in _FISHEYE:
        return ColmapLens("OPENCV_FISHEYE", k)
    if kind in _FOV:
        return ColmapLens("FOV", k)
    if kind not in (*_NONE, *_RADIAL, *_BROWN):
        raise ValueError(f"the distortion {kind} is not supported")
    if not any(k):
        return None
    expected = {"radial1": 1, "radialk1": 1, "radial3": 3, "radialk3": 3}.get(kind, 5)
    if kind in _NONE or len(k) != expected:
        raise ValueError(f"the distortion {kind} does not take {len(k)} coefficients")
    k1, k2, k3, t1, t2 = (*k, 0.0, 0.0, 0.0, 0.0)[:5]
    return brown_lens(k1, k2, k3, 0.0, t1, t2)


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
    files.write_json(folder / "cameras.sfm", content)


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
        "principalPoint": files.as_texts([K[0, 2] - width / 2, K[1, 2] - height / 2]),
        "distortionInitializationMode": "calibrated",
        "distortionParams": files.as_texts(coefficients) if kind != "none" else "",
        "undistortionOffset": ["0", "0"],
        "undistortionParams": "",
        "distortionType": kind,
        "undistortionType": "none",
        "locked": "true",
    }


def _pose(id: int, view: ViewSource) -> dict[str, Any]:
    """A pose; the rotation column by column."""
    transform = {"rotation": files.as_texts(view.camera.R.T), "center": files.as_texts(view.camera.center)}
    return {"poseId": str(id), "pose": {"transform": transform, "locked": "1"}}
