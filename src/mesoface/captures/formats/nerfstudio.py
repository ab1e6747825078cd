"""nerfstudio's ``transforms.json`` (and instant-ngp's, and the NeRF synthetic data's).

Poses are camera → world with OpenGL axes (x right, y up, z backward); the centre of the top-left pixel is
at (0.5, 0.5). Intrinsics are at the top or in a frame, which takes precedence. The world has no unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import ColmapLens, brown_lens, brown_or_fisheye, refuse_skew
from mesoface.errors import CaptureError
from mesoface.files.images import SUFFIXES, read_header
from mesoface.geometry.camera import Camera, Lens

NAME = "nerfstudio"
LOOKS_FOR = "transforms.json"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{stem}.png", False

_Row = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
_Pixels = Annotated[int, Field(gt=0)]
_Angle = Annotated[FiniteFloat, Field(gt=0, lt=math.pi)]


class _Intrinsics(files.Lenient):
    """Intrinsics at the top or in a frame."""

    camera_model: str | None = None
    w: _Pixels | None = None
    h: _Pixels | None = None
    fl_x: files.Positive | None = None
    fl_y: files.Positive | None = None
    cx: FiniteFloat | None = None
    cy: FiniteFloat | None = None
    camera_angle_x: _Angle | None = None
    camera_angle_y: _Angle | None = None
    k1: FiniteFloat | None = None
    k2: FiniteFloat | None = None
    k3: FiniteFloat | None = None
    k4: FiniteFloat | None = None
    p1: FiniteFloat | None = None
    p2: FiniteFloat | None = None


class _Frame(_Intrinsics):
    """One photo."""

    file_path: str
    mask_path: str | None = None
    transform_matrix: Annotated[list[_Row], Field(min_length=3, max_length=4)]


class _Transforms(_Intrinsics):
    """The whole file."""

    frames: Annotated[list[_Frame], Field(min_length=1)]
    applied_transform: list[list[float]] | None = None
    applied_scale: float | None = None


def detect(path: Path) -> bool:
    """Whether ``path`` has a ``transforms.json``."""
    return (path / LOOKS_FOR).is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder with a ``transforms.json``. Frames whose photo is missing are left out and noted.

    Raises:
        CaptureError: no such file, or one that is not JSON, lacks keys or has impossible numbers.
    """
    file = files.required(path, LOOKS_FOR)
    transforms = files.validated(_Transforms, files.read_json(file), file=file)
    found = [(frame, _photo(path, frame.file_path, file)) for frame in transforms.frames]
    there = [(frame, photo) for frame, photo in found if photo is not None]
    names = files.unique_names([photo.relative_to(path).as_posix() for _, photo in there])
    views, bare = [], []
    for name, (frame, photo) in zip(names, there, strict=True):
        mask = files.inside(path, frame.mask_path, file=file) if frame.mask_path else None
        if mask is not None and not mask.is_file():
            bare.append(frame.mask_path or "")
            mask = None
        views.append(ViewSource(name, photo, _camera(name, frame, transforms, photo, file), mask))
    notes = files.notes_on(
        {
            "in transforms.json but not on disk, left out": [
                f.file_path for f, photo in found if photo is None
            ],
            "masks named in transforms.json but not on disk": bare,
            "photos that transforms.json does not describe": _undescribed([p for _, p in there], path),
        }
    )
    if transforms.applied_transform is not None or transforms.applied_scale is not None:
        notes.append(
            "applied_transform and applied_scale are not undone: results are in the world of transforms.json"
        )
    return CaptureSource(path, NAME, tuple(views), tuple(notes))


def _photo(path: Path, name: str, file: Path) -> Path | None:
    """A frame's photo, or None where it is missing; the NeRF synthetic data has names without a suffix."""
    exact = files.inside(path, name, file=file)
    candidates = [exact, *(exact.with_name(exact.name + suffix) for suffix in SUFFIXES)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _undescribed(photos: list[Path], path: Path) -> list[str]:
    """The photos in the folders of the described ones that are not described."""
    folders = sorted({photo.parent for photo in photos})
    beside = [photo for folder in folders for photo in files.list_photos(folder).values()]
    return [photo.relative_to(path).as_posix() for photo in beside if photo not in photos]


def _camera(name: str, frame: _Frame, top: _Transforms, photo: Path, file: Path) -> Camera:
    """A frame's camera."""
    shared = top.model_dump(exclude={"frames"}, exclude_none=True)
    one = _Intrinsics.model_validate(shared | frame.model_dump(exclude_none=True))
    width, height = (one.w, one.h) if one.w and one.h else read_header(photo).upright_size
    fx = one.fl_x or _focal(width, one.camera_angle_x)
    fy = one.fl_y or _focal(height, one.camera_angle_y) or fx
    if fx is None or fy is None:
        raise CaptureError(
            f"frame {frame.file_path} has no focal length",
            path=file,
            remedy="give fl_x (and fl_y) or camera_angle_x, in the frame or at the top",
        )
    cx = width / 2 if one.cx is None else one.cx
    cy = height / 2 if one.cy is None else one.cy
    K = [[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]
    with files.refused(file, "use OPENCV, OPENCV_FISHEYE or PINHOLE", about=f"frame {frame.file_path}: "):
        lens = _lens(one)
    pose = np.array(frame.transform_matrix[:3])
    R = np.diag([1.0, -1.0, -1.0]) @ pose[:, :3].T  # OpenGL → OpenCV axes, camera → world inverted
    return files.make_camera(name, K, R, -R @ pose[:, 3], (width, height), lens, file=file)


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
    return brown_lens(k1, k2, k3, 0.0, p1, p2)


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``transforms.json``.

    Raises:
        Unsupported: a lens is neither Brown's with three radial terms nor OpenCV's fisheye, or there is skew.
    """
    files.write_json(folder / LOOKS_FOR, {"frames": [_frame(folder, view) for view in views]})


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
