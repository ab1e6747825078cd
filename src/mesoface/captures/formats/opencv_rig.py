"""One OpenCV calibration for a whole rig: ``intrinsic-0``, ``extrinsic-0``, ``intrinsic-1``, … in one file.

The file is what ``cv::FileStorage`` writes, as YAML, XML or JSON. The conventions are OpenCV's and this
package's: world → camera, pixel centres at integers. The layout has no names: the photos, in natural order of
theirs (``cam2`` before ``cam10``), belong to the cameras in order of their numbers. It does not state the
world's unit either, which is the millimetre as a rule; ours adds a key ``mm_per_unit`` where it is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import cv2
import numpy as np

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import Unsupported
from mesoface.captures.formats.opencv import matrix_of
from mesoface.captures.formats.photos import Photos, size_of
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera, OpenCVLens

NAME = "opencv_rig"
LOOKS_FOR = (
    "a .yml, .yaml, .xml or .json file with intrinsic-0 and extrinsic-0, in the folder, calibration/ or "
    "cameras/"
)
PHOTO, MASK, STATES_UNIT = "images/{index}{suffix}", "masks/{photo}.png", True
FILE = "calib_camera.yml"
"""The file that :func:`write` makes."""
MM_PER_UNIT = "mm_per_unit"
"""Our own key; programs that do not know it ignore it."""
_SUFFIXES = (".yml", ".yaml", ".xml", ".json")
_FILE_FOLDERS = ("", "calibration", "cameras")
_PHOTO_FOLDERS = ("", "images", "photos")
_KEY = re.compile(r"(intrinsic|extrinsic|distortion)-(\d{1,4})")
_BEGINS = re.compile(r'(?:^|[{,]\s*|<)\s*"?intrinsic-\d{1,4}"?[\s:>]', re.MULTILINE)
_REMEDY = "see docs/formats.md for the names and shapes that are read"

Rig = dict[int, dict[str, Any]]
"""{camera: {"intrinsic": …, "extrinsic": …, "distortion": …}}, as they stand in the file."""


def detect(path: Path) -> bool:
    """Whether ``path`` has a file with intrinsics by number."""
    return bool(_files(path))


def read(path: Path) -> CaptureSource:
    """Read a folder with one calibration file for all cameras.

    Raises:
        CaptureError: no such file or several, another number of photos than of cameras, or a matrix that is
            missing or impossible.
    """
    what = "one calibration file with intrinsic-0, intrinsic-1, …"
    file = files.only_file(
        _files(path), what, folder=path, remedy="leave one there; see docs/formats.md for its layout"
    )
    content = _content(file)
    rig, unknown = _by_camera(content)
    if not rig:
        raise CaptureError("describes no camera: no key like intrinsic-0", path=file, remedy=files.LAYOUT)
    photos = _photos(path)
    if len(photos) != len(rig):
        raise CaptureError(
            f"describes {len(rig)} cameras, but there are {len(photos)} photos; they belong together in the "
            "order of the photos' names",
            path=file,
            remedy="keep exactly one photo per camera in the folder (or in images/ or photos/)",
        )
    numbers = dict(zip(photos, sorted(rig), strict=True))
    notes = files.notes_on(
        {
            "keys that are not used": unknown,
            "belongs to its camera by the order of names alone": [
                f"{Path(photo).name} to camera {number}"
                for photo, number in numbers.items()
                if number not in (int(digits) for digits in re.findall(r"\d+", Path(photo).stem))
            ],
        }
    )

    def camera_of(name: str, number: int, photo: Path) -> Camera:
        return _camera(name, number, rig[number], photo, file)

    return Photos(path).source(
        NAME, numbers.items(), camera_of, file=file, notes=notes, mm_per_unit=_scale(content, file)
    )


def _files(path: Path) -> list[Path]:
    """The files with intrinsics by number, from the first of the folders that has any."""
    for folder in _FILE_FOLDERS:
        candidates = files.list_files(path / folder, *_SUFFIXES)
        if found := [file for file in candidates if _BEGINS.search(files.head_of(file, 1 << 16))]:
            return found
    return []


def _photos(path: Path) -> list[str]:
    """Photos relative to ``path``, from the first of the folders that has any, in natural order."""
    for folder in _PHOTO_FOLDERS:
        if found := files.list_photos(path / folder):
            names = sorted(found, key=_natural)
            return [f"{folder}/{name}" if folder else name for name in names]
    return []


def _natural(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A key that sorts the numbers in names by value: ``cam2`` before ``cam10``."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts], name


def _content(file: Path) -> Mapping[str, Any]:
    """The file's outermost names and values; numbers may be text."""
    if file.suffix.lower() == ".json":
        return files.read_json(file)
    if file.suffix.lower() != ".xml":
        return files.read_yaml(file)
    return {node.tag: _value(node) for node in files.read_xml(file)}


def _value(node: Element) -> object:
    """An XML node as YAML has it: text, or rows, cols and data of a matrix."""
    if not len(node):
        return (node.text or "").strip()
    value: dict[str, object] = {child.tag: (child.text or "").strip() for child in node}
    return value | {"data": (node.findtext("data") or "").split()}


def _by_camera(content: Mapping[str, Any]) -> tuple[Rig, list[str]]:
    """The cameras by number, and the names of what is none of theirs."""
    rig: Rig = {}
    unknown = []
    for key, value in content.items():
        if match := _KEY.fullmatch(str(key)):
            rig.setdefault(int(match[2]), {})[match[1]] = value
        elif key != MM_PER_UNIT:
            unknown.append(str(key)[:40])
    return rig, unknown


def _camera(view: str, number: int, values: Mapping[str, Any], photo: Path, file: Path) -> Camera:
    """The camera of one number; its size is the photo's, which the file does not state."""
    with files.refused(file, _REMEDY, about=f"camera {number}: "):
        if lacking := [key for key in ("intrinsic", "extrinsic") if key not in values]:
            raise ValueError(f"has no {lacking[0]}-{number}")
        K, Rt = matrix_of(values["intrinsic"]), matrix_of(values["extrinsic"])
        if Rt.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"extrinsic-{number} must be 3×4 or 4×4, got {Rt.shape}")
        distortion = matrix_of(values.get("distortion", [])).ravel()
        lens = OpenCVLens(tuple(distortion.tolist())) if distortion.any() else None
    return files.make_camera(view, K, Rt[:3, :3], Rt[:3, 3], size_of(photo), lens, file=file)


def _scale(content: Mapping[str, Any], file: Path) -> float | None:
    """Millimetres per world unit where the file states it."""
    if MM_PER_UNIT not in content:
        return None
    with files.refused(file, "correct it, or leave it out"):
        scale = files.as_array(content[MM_PER_UNIT])
        if scale.shape != () or not 0 < scale < np.inf:
            raise ValueError(f"{MM_PER_UNIT} must be a number above 0")
    return float(scale)


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``calib_camera.yml``, with our own key ``mm_per_unit`` where the unit is known.

    Raises:
        Unsupported: a lens is not OpenCV's.
    """
    storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    if mm_per_unit is not None:
        storage.write(MM_PER_UNIT, mm_per_unit)
    for number, view in enumerate(views):
        camera, lens = view.camera, view.camera.lens
        if lens is not None and not isinstance(lens, OpenCVLens):
            what = f"this layout has no counterpart of {type(lens).__name__}"
            raise Unsupported(view.name, what, undistort=True)
        storage.write(f"intrinsic-{number}", np.array(camera.K))
        storage.write(f"extrinsic-{number}", np.column_stack([camera.R, camera.t]))
        if lens is not None:
            storage.write(f"distortion-{number}", np.array([lens.coefficients]))
    (folder / FILE).write_text(storage.releaseAndGetString(), encoding="utf-8")
