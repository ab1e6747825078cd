"""COLMAP models, binary or text, through pycolmap: photos in ``images/``, masks in ``masks/``.

COLMAP puts the centre of the top-left pixel at (0.5, 0.5); here it is (0, 0), so cx and cy lose 0.5 at the
door. Its world has no unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats.colmap_binary import check_binary
from mesoface.captures.formats.files import inside, list_photos, listed, make_camera, unique_names
from mesoface.captures.formats.lenses import intrinsics
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Camera

NAME = "colmap"
LOOKS_FOR = "cameras.bin or cameras.txt in sparse/0, sparse or the folder itself"


def detect(path: Path) -> bool:
    """Whether ``path`` has a COLMAP model where one is looked for."""
    return bool(_model_folders(path))


def read(path: Path) -> CaptureSource:
    """Read a COLMAP model. Photos that the model lists but that are not on disk are left out and noted.

    Raises:
        CaptureError: no model, one that is damaged, no ``images`` folder, or impossible numbers.
    """
    model, folder, notes = _largest_model(path)
    images = path / "images"
    if not images.is_dir():
        raise CaptureError(
            "has a COLMAP model but no folder images", path=path, remedy="put the photos into images/"
        )
    on_disk = list_photos(images, deep=True)
    registered = [model.images[i] for i in sorted(model.images, key=lambda i: model.images[i].name)]
    missing = dict.fromkeys(
        image.name for image in registered if not inside(images, image.name, said_by=folder).is_file()
    )
    posed = [image for image in registered if image.has_pose and image.name not in missing]
    if missing:
        notes.append(f"in the COLMAP model but not in images/, left out: {listed(list(missing))}")
    if unposed := [image.name for image in registered if not image.has_pose]:
        notes.append(f"without a pose in the COLMAP model, left out: {listed(unposed)}")
    if extra := sorted(set(on_disk) - {image.name for image in registered}):
        notes.append(f"in images/ but not in the COLMAP model: {listed(extra)}")
    views = []
    for name, image in zip(unique_names([image.name for image in posed]), posed, strict=True):
        mask = inside(path / "masks", f"{image.name}.png", said_by=folder)
        camera = _camera(image, model.cameras[image.camera_id], folder)
        views.append(ViewSource(name, images / image.name, camera, mask if mask.is_file() else None))
    if (path / "masks").is_dir() and (bare := [view.name for view in views if view.mask_path is None]):
        notes.append(f"without a mask in masks/<photo's name>.png: {listed(bare)}")
    return CaptureSource(path, NAME, tuple(views), tuple(notes))


def read_points(path: str | Path, *, max_error: float = np.inf, min_track: int = 2) -> NDArray[np.float64]:
    """The sparse points of the model that :func:`read` reads.

    Args:
        path: the capture's folder.
        max_error: largest mean reprojection error, pixels.
        min_track: least number of photos that a point was seen in.

    Returns:
        (N, 3) world units.

    Raises:
        CaptureError: no model, or one that is damaged.
    """
    model, _, _ = _largest_model(Path(path))
    points = [
        point.xyz
        for point in model.points3D.values()
        if point.error <= max_error and point.track.length() >= min_track
    ]
    return np.array(points, np.float64).reshape(-1, 3)


def _model_folders(path: Path) -> list[Path]:
    """The folders that hold a model: of ``sparse/*`` if any, else ``sparse``, else the folder itself."""
    sparse = path / "sparse"
    below = sorted(p for p in sparse.iterdir() if p.is_dir()) if sparse.is_dir() else []
    for candidates in (below, [sparse], [path]):
        if found := [
            p for p in candidates if any((p / f"cameras.{kind}").is_file() for kind in ("bin", "txt"))
        ]:
            return found
    return []


def _largest_model(path: Path) -> tuple[Any, Path, list[str]]:
    """The model with the most photos, its folder, and a note where there are others."""
    folders = _model_folders(path)
    if not folders:
        raise CaptureError(
            f"no COLMAP model here, looked for {LOOKS_FOR}", path=path, remedy="name its folder"
        )
    models = [(_open_model(folder), folder) for folder in folders]
    model, folder = max(models, key=lambda pair: len(pair[0].images))  # the first of equals
    notes = []
    if len(models) > 1:
        sizes = ", ".join(f"{f.name} ({len(m.images)} photos)" for m, f in models)
        notes.append(f"{len(models)} COLMAP models: {sizes}; the largest, {folder.name}, was taken")
    return model, folder, notes


def _open_model(folder: Path) -> Any:
    """The pycolmap reconstruction in ``folder``."""
    if (folder / "cameras.bin").is_file():
        check_binary(folder)
    try:
        model = pycolmap.Reconstruction(str(folder))
        names = [image.name for image in model.images.values()]  # not UTF-8 in a damaged file
    except (RuntimeError, ValueError, IndexError, KeyError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].split("] ")[-1]
        reason = reason if len(reason) < 100 else f"{reason[:99]}…"
        raise CaptureError(
            f"the COLMAP model cannot be read ({reason})", path=folder, remedy="export it again from COLMAP"
        ) from error
    if not names:
        raise CaptureError(
            "the COLMAP model has no photos", path=folder, remedy="export it again from COLMAP"
        )
    return model


def _camera(image: Any, camera: Any, folder: Path) -> Camera:
    """A photo's camera."""
    try:
        K, lens = intrinsics(camera)
    except ValueError as error:
        raise CaptureError(
            f"camera {camera.camera_id}: {error}",
            path=folder,
            remedy="undistort the photos with COLMAP's image_undistorter",
        ) from error
    pose = image.cam_from_world().matrix()
    size = (camera.width, camera.height)
    return make_camera(image.name, K, pose[:, :3], pose[:, 3], size, lens, said_by=folder)
