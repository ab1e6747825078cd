"""``cameras.json``: the cameras of a result's photos, in plain JSON.

Everything is in the result's own world frame and in millimetres, with OpenCV's axes (x right, y down, z
forward), ``x_cam = R @ x_world + t``, pixel centres at integers. The cameras are those of the photos as they
were used: undistorted, without a lens, and corrected where the photos disagreed with the calibration.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from mesoface.captures.capture import Capture, View
from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.geometry.camera import Camera
from mesoface.running.progress import ProgressCallback, silent

FORMAT = 1
"""Version of the file's layout."""
_MAX_BYTES = 4 << 20  # 120 views take 70 kB


@dataclass(frozen=True, eq=False)
class RunView:
    """A view of a finished reconstruction.

    Args:
        name: short name, unique.
        camera: pinhole camera of the undistorted photo, mm.
        photo: path of the photo when the result was written, or None when it was made in memory.
    """

    name: str
    camera: Camera
    photo: Path | None


@dataclass(frozen=True, eq=False)
class RunCameras:
    """What ``cameras.json`` holds.

    Args:
        views: in the order in which the reconstruction used them.
        capture: the folder that the photos came from, or None when they were made in memory.
        format: name of that folder's format.
    """

    views: tuple[RunView, ...]
    capture: Path | None
    format: str


_Row3 = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Size = Annotated[int, Field(ge=1, le=1 << 20)]


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    width: _Size
    height: _Size
    K: tuple[_Row3, _Row3, _Row3]
    R: tuple[_Row3, _Row3, _Row3]
    t: _Row3
    photo: str | None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: Literal[1]
    unit: Literal["mm"]
    capture: str | None
    capture_format: str
    views: list[_View]


def write_cameras(path: Path, capture: Capture) -> None:
    """Write the cameras of ``capture``, whose unit is the millimetre.

    The path of the capture is relative to the file, so that the two can be moved together.

    Args:
        path: the file, in a folder that exists.
        capture: undistorted views with their cameras.
    """
    folder = None if capture.path is None else os.path.relpath(capture.path, path.parent)
    views = [
        _View(
            name=view.name,
            width=view.camera.width,
            height=view.camera.height,
            K=view.camera.K.tolist(),
            R=view.camera.R.tolist(),
            t=view.camera.t.tolist(),
            photo=None if view.image_path is None else os.path.relpath(view.image_path, path.parent),
        )
        for view in capture.views
    ]
    file = _File(format=FORMAT, unit="mm", capture=folder, capture_format=capture.format, views=views)
    path.write_text(json.dumps(file.model_dump(), indent=1) + "\n", encoding="utf-8")


def read_cameras(path: Path) -> RunCameras:
    """Read what :func:`write_cameras` wrote. Photos are neither opened nor searched for.

    Raises:
        MesofaceError: the file is missing, too large, from another version, or describes no cameras.
    """
    remedy = "run `mesoface reconstruct` again"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MesofaceError(f"more than {_MAX_BYTES >> 20} MB", path=path, remedy=remedy)
        file = _File.model_validate_json(path.read_bytes())
        views = tuple(
            RunView(
                view.name,
                Camera(np.array(view.K), np.array(view.R), np.array(view.t), view.width, view.height),
                None if view.photo is None else path.parent / view.photo,
            )
            for view in file.views
        )
    except OSError as error:
        raise MesofaceError(f"cannot be read: {error.strerror}", path=path, remedy=remedy) from error
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise MesofaceError(f"{name}: {problem['msg']}", path=path, remedy=remedy) from error
    except ValueError as error:
        raise MesofaceError(f"not a camera: {error}", path=path, remedy=remedy) from error
    if len({view.name for view in views}) != len(views):
        raise MesofaceError("two views have the same name", path=path, remedy=remedy)
    return RunCameras(
        views, None if file.capture is None else path.parent / file.capture, file.capture_format
    )


def load_photos(
    cameras: RunCameras, folder: Path | None = None, progress: ProgressCallback = silent
) -> list[View | None]:
    """The undistorted photos of a result with its cameras, in their order.

    Args:
        cameras: of the result.
        folder: where the photos are now; None: where ``cameras`` has them.
        progress: called as photos are read.

    Returns:
        None in place of a view whose photo has another size than the one that was used.

    Raises:
        MesofaceError: the photos were made in memory, or are not there.
    """
    format = cameras.format if folder is None else None
    folder = folder or cameras.capture
    if folder is None:
        raise MesofaceError("the photos were made in memory", remedy="name the folder where they are now")
    names = [view.name for view in cameras.views]
    loaded = load_capture(folder, format=format, names=names, progress=progress)
    pairs = zip(loaded.views, (view.camera for view in cameras.views), strict=True)
    return [
        replace(view, camera=camera) if view.image.shape[:2] == (camera.height, camera.width) else None
        for view, camera in pairs
    ]
