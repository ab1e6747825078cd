"""OpenCV calibrations, one YAML or JSON file per camera, with intrinsics and extrinsics.

Files are those of ``cv::FileStorage``, of ROS, or plain YAML and JSON. ``cam3.yml`` belongs to the photo
``cam3.jpg``, anywhere below the folder. The conventions are those of cv2.calibrateCamera, cv2.stereoCalibrate
and cv2.solvePnP, and of this package: world → camera, pixel centres at integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import ColmapLens, Unsupported, fisheye_of
from mesoface.captures.formats.photos import Photos, size_of
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Array, Camera, Lens, OpenCVLens

NAME = "opencv"
LOOKS_FOR = (
    "a .yml, .yaml or .json file per camera with camera_matrix, in the folder, calibration/ or cameras/"
)
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False
_SUFFIXES = (".yml", ".yaml", ".json")
_FOLDERS = ("", "calibration", "cameras")

_K = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "intrinsic_matrix", "K")
_LENS = ("distortion_coefficients", "Distortion_Coefficients", "dist_coeffs", "distCoeffs", "dist", "D")
_MODEL = ("distortion_model", "camera_model")
_R = ("R", "rotation_matrix", "rvec", "rotation_vector")
_T = ("T", "t", "tvec", "translation_vector", "translation")
_RT = ("Rt", "RT", "extrinsic_matrix", "extrinsics")
_SIZE = ("image_size", "imageSize", "resolution")
_WIDTH, _HEIGHT = ("image_width", "image_Width", "width"), ("image_height", "image_Height", "height")
_FISHEYE = ("fisheye", "equidistant", "opencv_fisheye")
_BROWN = ("plumb_bob", "rational_polynomial", "opencv", "radtan", "brown", "pinhole", "")
_BEGINS = re.compile(rf'(?:^|[{{,]\s*)"?({"|".join(_K)})"?\s*:', re.MULTILINE)


def detect(path: Path) -> bool:
    """Whether ``path`` has a file that names a camera matrix."""
    return bool(_files(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with a calibration file per camera. Those without a photo are left out and noted.

    Raises:
        CaptureError: no such file, or one that lacks a matrix or has impossible numbers.
    """
    found = _files(path)
    if not found:
        raise CaptureError(
            f"no calibration here, looked for {LOOKS_FOR}", path=path, remedy="see docs/formats.md"
        )
    return Photos(path).source(NAME, [(file.stem, file) for file in found], _camera, file=path)


def _files(path: Path) -> list[Path]:
    """The files that name a camera matrix, from the first of the folders that has any."""
    for folder in _FOLDERS:
        candidates = files.list_files(path / folder, *_SUFFIXES)
        if found := [file for file in candidates if _has_camera_matrix(file)]:
            return found
    return []


def _has_camera_matrix(file: Path) -> bool:
    """Whether a camera matrix is among the outermost names of a file."""
    if not _BEGINS.search(files.head_of(file, 1 << 16)):
        return False
    if file.suffix.lower() != ".json":
        return True
    try:
        return not set(_K).isdisjoint(files.read_json(file))
    except CaptureError:
        return True  # reading it reports what is wrong


def _camera(name: str, file: Path, photo: Path) -> Camera:
    """The camera that ``file`` describes."""
    content = files.read_json(file) if file.suffix.lower() == ".json" else files.read_yaml(file)
    with files.refused(file, "see docs/formats.md for the names and shapes that are read"):
        K = matrix_of(_first(content, _K, "camera matrix"))
        R, t = _pose(content)
        size = _size(content, photo)
        lens = _lens(content)
    return files.make_camera(name, K, R, t, size, lens, file=file)


def _first(content: Mapping[str, Any], names: tuple[str, ...], what: str | None = None) -> Any:
    """The value under the first of ``names`` that is there; None, or an error that names ``what``."""
    for name in names:
        if name in content:
            return content[name]
    if what is None:
        return None
    raise ValueError(f"has no {what}: looked for {', '.join(names)}")


def matrix_of(value: object) -> Array:
    """A matrix as nested lists, or as FileStorage and ROS write it: rows, cols and all data in a list.

    Raises:
        ValueError: it is not a matrix of numbers.
    """
    if not isinstance(value, Mapping):
        return files.as_array(value)
    if not {"rows", "cols", "data"} <= set(value):
        raise ValueError("a matrix needs rows, cols and data")
    rows, cols, data = int(value["rows"]), int(value["cols"]), files.as_array(value["data"])
    if rows < 0 or cols < 0 or data.size != rows * cols:
        raise ValueError(f"a matrix of {rows}×{cols} has {data.size} numbers")
    return data.reshape(rows, cols)


def _pose(content: Mapping[str, Any]) -> tuple[Array, Array]:
    """R (3, 3) and t (3,), of which R may be a rotation vector, or both in one matrix."""
    both = _first(content, _RT)
    if both is not None:
        Rt = matrix_of(both)
        if Rt.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"the extrinsic matrix must be 3×4 or 4×4, got {Rt.shape}")
        return Rt[:3, :3], Rt[:3, 3]
    R = matrix_of(_first(content, _R, "rotation"))
    t = matrix_of(_first(content, _T, "translation")).ravel()
    if R.size == 3:
        if not np.isfinite(R).all():
            raise ValueError("the rotation vector has numbers that are not finite")
        R = cv2.Rodrigues(R.reshape(3, 1))[0]
    return R, t


def _size(content: Mapping[str, Any], photo: Path) -> tuple[int, int]:
    """Width and height as the file states them, else the photo's."""
    both = _first(content, _SIZE)
    if both is not None:
        sides = files.as_array(both).ravel()
        if len(sides) != 2 or not np.isfinite(sides).all():
            raise ValueError("the image size must be width and height")
        return int(sides[0]), int(sides[1])
    width, height = _first(content, _WIDTH), _first(content, _HEIGHT)
    return size_of(photo) if width is None or height is None else (int(width), int(height))


def _lens(content: Mapping[str, Any]) -> Lens | None:
    value = _first(content, _LENS)
    if value is None:
        return None
    coefficients = matrix_of(value).ravel()
    flag = str(content.get("fisheye_model", "0")).strip()  # of OpenCV's own sample program
    model = "fisheye" if flag not in ("0", "0.0") else str(_first(content, _MODEL) or "").strip().lower()
    if model in _FISHEYE:
        return ColmapLens("OPENCV_FISHEYE", tuple(coefficients.tolist()))
    if model not in _BROWN:
        raise ValueError(
            f"the distortion model {model!r} is not known: {', '.join((*_BROWN[:-1], *_FISHEYE))}"
        )
    return OpenCVLens(tuple(coefficients.tolist())) if coefficients.any() else None


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write one file per view, with the name of its photo.

    Raises:
        Unsupported: a lens is not OpenCV's.
    """
    (folder / "calibration").mkdir(exist_ok=True)
    for view in views:
        model, coefficients = _named_lens(view)
        storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
        storage.write("image_width", view.camera.width)
        storage.write("image_height", view.camera.height)
        storage.write("camera_matrix", np.array(view.camera.K))
        storage.write("distortion_model", model)
        storage.write("distortion_coefficients", np.array([coefficients]))
        storage.write("R", np.array(view.camera.R))
        storage.write("T", np.array(view.camera.t).reshape(3, 1))
        text = storage.releaseAndGetString()
        (folder / "calibration" / f"{view.image_path.stem}.yml").write_text(text, encoding="utf-8")


def _named_lens(view: ViewSource) -> tuple[str, tuple[float, ...]]:
    """The name of the model, as ROS has it, and its coefficients."""
    lens = view.camera.lens
    if (fisheye := fisheye_of(view)) is not None:
        return "fisheye", fisheye
    if lens is None:
        return "plumb_bob", (0.0,) * 5
    if isinstance(lens, OpenCVLens):
        return "plumb_bob" if len(lens.coefficients) <= 5 else "rational_polynomial", lens.coefficients
    raise Unsupported(view.name, f"OpenCV has no counterpart of {type(lens).__name__}", undistort=True)
