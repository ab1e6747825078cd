"""nerfstudio's ``transforms.json`` (and instant-ngp's, and the NeRF synthetic data's).

Poses are camera → world with OpenGL axes (x right, y up, z backward); the centre of the top-left pixel is
at (0.5, 0.5). Intrinsics stand at the top, or in a frame, which wins. The world has no unit.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.files import (
    inside,
    list_photos,
    listed,
    make_camera,
    read_json,
    unique_names,
    validated,
)
from mesoface.captures.formats.lenses import ColmapLens
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, read_header
from mesoface.geometry.camera import Camera, OpenCVLens
from mesoface.geometry.lens import Lens

NAME = "nerfstudio"
LOOKS_FOR = "transforms.json"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Finite], Field(min_length=4, max_length=4)]


class _Intrinsics(BaseModel):
    """What may stand at the top or in a frame."""

    model_config = ConfigDict(extra="ignore")
    camera_model: str | None = None
    w: Annotated[int, Field(gt=0)] | None = None
    h: Annotated[int, Field(gt=0)] | None = None
    fl_x: Annotated[Finite, Field(gt=0)] | None = None
    fl_y: Annotated[Finite, Field(gt=0)] | None = None
    cx: Finite | None = None
    cy: Finite | None = None
    camera_angle_x: Annotated[Finite, Field(gt=0, lt=math.pi)] | None = None
    camera_angle_y: Annotated[Finite, Field(gt=0, lt=math.pi)] | None = None
    k1: Finite | None = None
    k2: Finite | None = None
    k3: Finite | None = None
    k4: Finite | None = None
    p1: Finite | None = None
    p2: Finite | None = None


class _Frame(_Intrinsics):
    """One photo."""

    file_path: str
    mask_path: str | None = None
    transform_matrix: Annotated[list[Row], Field(min_length=3, max_length=4)]


class _Transforms(_Intrinsics):
    """The whole file."""

    frames: Annotated[list[_Frame], Field(min_length=1)]
    applied_transform: list[list[float]] | None = None
    applied_scale: float | None = None


def detect(path: Path) -> bool:
    """Whether ``path`` has a ``transforms.json``."""
    return (path / "transforms.json").is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder with a ``transforms.json``. Frames whose photo is missing are left out and noted.

    Raises:
        CaptureError: no such file, or one that is not JSON, lacks keys or has impossible numbers.
    """
    file = path / "transforms.json"
    if not file.is_file():
        raise CaptureError(
            "no transforms.json here", path=path, remedy="name a folder in nerfstudio's layout"
        )
    transforms = validated(_Transforms, read_json(file), said_by=file)
    photos = [_photo(path, frame.file_path, file) for frame in transforms.frames]
    notes, missing = (
        [],
        [f.file_path for f, photo in zip(transforms.frames, photos, strict=True) if photo is None],
    )
    if missing:
        notes.append(f"in transforms.json but not on disk, left out: {listed(missing)}")
    there = [
        (frame, photo) for frame, photo in zip(transforms.frames, photos, strict=True) if photo is not None
    ]
    names = unique_names([photo.relative_to(path).as_posix() for _, photo in there])
    views, bare = [], []
    for name, (frame, photo) in zip(names, there, strict=True):
        mask = inside(path, frame.mask_path, said_by=file) if frame.mask_path else None
        if mask is not None and not mask.is_file():
            bare.append(frame.mask_path or "")
            mask = None
        views.append(ViewSource(name, photo, _camera(name, frame, transforms, photo, file), mask))
    if bare:
        notes.append(f"masks named in transforms.json but not on disk: {listed(bare)}")
    if extra := _undescribed([photo for _, photo in there], path):
        notes.append(f"photos that transforms.json does not describe: {listed(extra)}")
    if transforms.applied_transform is not None or transforms.applied_scale is not None:
        notes.append(
            "applied_transform and applied_scale are not undone: results are in the world of transforms.json"
        )
    return CaptureSource(path, NAME, tuple(views), tuple(notes))


def _photo(path: Path, name: str, said_by: Path) -> Path | None:
    """A frame's photo, or None where it is missing. A name without a suffix is the NeRF data's way."""
    file = inside(path, name, said_by=said_by)
    candidates = [file, *(file.with_name(file.name + suffix) for suffix in SUFFIXES)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _undescribed(photos: list[Path], path: Path) -> list[str]:
    """Photos that lie beside the described ones, but are not described."""
    beside = [
        photo
        for folder in sorted({photo.parent for photo in photos})
        for photo in list_photos(folder).values()
    ]
    return [photo.relative_to(path).as_posix() for photo in beside if photo not in photos]


def _camera(name: str, frame: _Frame, top: _Transforms, photo: Path, said_by: Path) -> Camera:
    """A frame's camera."""
    keys = _Intrinsics.model_fields
    one = _Intrinsics(
        **{key: getattr(frame, key) if getattr(frame, key) is not None else getattr(top, key) for key in keys}
    )
    width, height = (one.w, one.h) if one.w and one.h else read_header(photo).upright_size
    fx = one.fl_x or _focal(width, one.camera_angle_x)
    fy = one.fl_y or _focal(height, one.camera_angle_y) or fx
    if fx is None or fy is None:
        raise CaptureError(
            f"frame {frame.file_path} has no focal length",
            path=said_by,
            remedy="give fl_x (and fl_y) or camera_angle_x, in the frame or at the top",
        )
    cx = width / 2 if one.cx is None else one.cx
    cy = height / 2 if one.cy is None else one.cy
    K = [[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]
    try:
        lens = _lens(one)
    except ValueError as error:
        raise CaptureError(
            f"frame {frame.file_path}: {error}", path=said_by, remedy="use OPENCV, OPENCV_FISHEYE or PINHOLE"
        ) from error
    pose = np.array(frame.transform_matrix[:3])
    R = np.diag([1.0, -1.0, -1.0]) @ pose[:, :3].T  # OpenGL → OpenCV axes, camera → world inverted
    return make_camera(name, K, R, -R @ pose[:, 3], (width, height), lens, said_by=said_by)


def _focal(size: int, angle: float | None) -> float | None:
    """Focal length in pixels from a field of view in radians."""
    return None if angle is None else size / 2 / math.tan(angle / 2)


def _lens(one: _Intrinsics) -> Lens | None:
    k1, k2, k3, k4, p1, p2 = (value or 0.0 for value in (one.k1, one.k2, one.k3, one.k4, one.p1, one.p2))
    model = one.camera_model or "OPENCV"
    if model == "OPENCV_FISHEYE":
        return ColmapLens(model, (k1, k2, k3, k4))
    if model in ("PINHOLE", "SIMPLE_PINHOLE"):
        return None
    if model not in ("OPENCV", "SIMPLE_RADIAL", "RADIAL"):
        raise ValueError(f"the camera model {model} is not known")
    if k4:
        raise ValueError("k4 belongs to camera_model OPENCV_FISHEYE only")
    return OpenCVLens((k1, k2, p1, p2, k3)) if any((k1, k2, p1, p2, k3)) else None
