"""FaceScape's layout: ``params.json`` and ``<i>.jpg`` beside it (Yang et al., CVPR 2020).

For each view i the JSON object has ``i_K`` (3×3), ``i_Rt`` (3×4, world → camera, OpenCV axes),
``i_distortion`` (k1 k2 p1 p2 k3), ``i_width``, ``i_height`` and ``i_valid``. Pixel centres are at integers.
The published layout does not state the world's unit; ours adds a key ``mm_per_unit`` where it is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import brown_of
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera, OpenCVLens

NAME = "facescape"
LOOKS_FOR = "params.json"
PHOTO, MASK, STATES_UNIT = "{index}{suffix}", None, True
MM_PER_UNIT = "mm_per_unit"
"""Our own key in ``params.json``; programs that do not know it ignore it."""
_KEY = re.compile(r"(\d{1,6})_(K|Rt|distortion|width|height|valid)")


def detect(path: Path) -> bool:
    """Whether ``path`` has a ``params.json``."""
    return (path / LOOKS_FOR).is_file()


def read(path: Path) -> CaptureSource:
    """Read a folder in FaceScape's layout. Views that are not valid are left out and noted.

    A valid view whose photo is missing is kept, and loading it is an error: the layout has ``valid`` to leave
    a view out.

    Raises:
        CaptureError: no ``params.json``, or one that is not JSON, lacks keys or has impossible numbers.
    """
    file = files.required(path, LOOKS_FOR)
    content = files.read_json(file)
    params = _by_view(content)
    if not params:
        raise CaptureError('describes no view: no key like "0_K"', path=file, remedy=files.LAYOUT)
    photos: dict[str, Path] = {}
    for photo in files.list_photos(path).values():
        photos.setdefault(photo.stem, photo)
    valid = {name: values for name, values in params.items() if values.get("valid", True)}
    views = tuple(
        ViewSource(name, photos.get(name, path / f"{name}.jpg"), _camera(name, values, file))
        for name, values in valid.items()
    )
    notes = files.notes_on(
        {
            "left out, marked invalid in params.json": [name for name in params if name not in valid],
            "in params.json without a photo": [name for name in valid if name not in photos],
            "photos that params.json does not describe": [
                photo.name for stem, photo in photos.items() if stem not in params
            ],
        }
    )
    return CaptureSource(path, NAME, views, tuple(notes), _scale(content, file))


def write_photos(
    path: str | Path,
    photos: Sequence[NDArray[np.uint8]],
    cameras: Sequence[Camera],
    *,
    numbers: Sequence[int] | None = None,
    mm_per_unit: float | None = None,
    quality: int = 95,
) -> None:
    """Write photos and cameras in FaceScape's layout.

    Args:
        path: an existing folder.
        photos: V × (H, W, 3) uint8 RGB.
        cameras: V cameras of the photos' sizes, each with no lens or an :class:`OpenCVLens` of at most
            five coefficients.
        numbers: the views' numbers; 0, 1, 2, … when left out.
        mm_per_unit: millimetres per world unit, to be stated in the file, or None.
        quality: of the JPEG files, 1 to 100.

    Raises:
        ValueError: photos and cameras do not go together, or a lens does not fit the layout.
    """
    path = Path(path)
    if len(photos) != len(cameras):
        raise ValueError(f"{len(photos)} photos but {len(cameras)} cameras")
    numbers = range(len(photos)) if numbers is None else numbers
    for i, photo, camera in zip(numbers, photos, cameras, strict=True):
        if photo.dtype != np.uint8 or photo.shape != (camera.height, camera.width, 3):
            raise ValueError(
                f"photo {i} is {photo.dtype} {photo.shape}, its camera {camera.width}×{camera.height}"
            )
    names = [str(i) for i in numbers]
    views = [ViewSource(i, path / f"{i}.jpg", camera) for i, camera in zip(names, cameras, strict=True)]
    write(path, views, mm_per_unit)
    for view, photo in zip(views, photos, strict=True):
        Image.fromarray(photo).save(view.image_path, quality=quality)


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write ``params.json``, with our own key ``mm_per_unit`` where the unit is known.

    Raises:
        Unsupported: a lens is not k1, k2, p1, p2, k3.
    """
    params: dict[str, Any] = {} if mm_per_unit is None else {MM_PER_UNIT: mm_per_unit}
    for view in views:
        i, camera, (k1, k2, k3, _, p1, p2) = view.image_path.stem, view.camera, brown_of(view)
        params[f"{i}_K"] = camera.K.tolist()
        params[f"{i}_Rt"] = np.column_stack([camera.R, camera.t]).tolist()
        params[f"{i}_distortion"] = [k1, k2, p1, p2, k3]
        params[f"{i}_width"], params[f"{i}_height"] = camera.width, camera.height
        params[f"{i}_valid"] = True
    (folder / LOOKS_FOR).write_text(json.dumps(params), encoding="utf-8")


def _by_view(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{view: {"K": …, "Rt": …, …}}, sorted by number; other keys are ignored."""
    params: dict[int, dict[str, Any]] = {}
    for key, value in content.items():
        if match := _KEY.fullmatch(key):
            params.setdefault(int(match[1]), {})[match[2]] = value
    return {str(i): values for i, values in sorted(params.items())}


def _scale(content: dict[str, Any], file: Path) -> float | None:
    """Millimetres per world unit where ``params.json`` states it."""
    scale = content.get(MM_PER_UNIT)
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise CaptureError(
            f"{MM_PER_UNIT} must be a number above 0, got {scale!r}",
            path=file,
            remedy="correct it, or leave it out",
        )
    return float(scale)


def _camera(view: str, values: dict[str, Any], file: Path) -> Camera:
    """The camera of one view."""
    if lacking := [key for key in ("K", "Rt", "width", "height") if key not in values]:
        raise CaptureError(
            f"view {view} has no {files.listed([f'{view}_{key}' for key in lacking])}",
            path=file,
            remedy=f'add it, or mark the view as invalid with "{view}_valid": false',
        )
    with files.refused(file, f'correct it, or set "{view}_valid": false', about=f"view {view}: "):
        Rt = files.as_array(values["Rt"])
        distortion = files.as_array(values.get("distortion", [0.0] * 5)).ravel()
        if Rt.shape != (3, 4):
            raise ValueError(f"Rt must have the shape (3, 4), got {Rt.shape}")
        lens = OpenCVLens(tuple(distortion.tolist())) if len(distortion) == 0 or distortion.any() else None
    size = (values["width"], values["height"])
    return files.make_camera(view, values["K"], Rt[:, :3], Rt[:, 3], size, lens, file=file)
