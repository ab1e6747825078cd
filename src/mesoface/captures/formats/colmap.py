"""COLMAP models, binary or text, through pycolmap: photos in ``images/``, masks in ``masks/``.

COLMAP puts the centre of the top-left pixel at (0.5, 0.5); here it is (0, 0), so reading subtracts 0.5 from
cx and cy. Its world has no unit.

Binary files are checked before pycolmap reads them. It trusts the counts in them: it reads a truncated file
as far as it goes, and allocates as much memory as a damaged count requests. The layout is the one in COLMAP's
documentation, "Output Format".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import files
from mesoface.captures.formats.lenses import (
    BrownLens,
    ColmapLens,
    Unsupported,
    brown_of,
    refuse_aspect,
    refuse_skew,
)
from mesoface.errors import CaptureError
from mesoface.geometry.camera import Array, Camera, Lens, OpenCVLens

NAME = "colmap"
LOOKS_FOR = "cameras.bin or cameras.txt in sparse/0, sparse or the folder itself"
PHOTO, MASK, STATES_UNIT = "images/{stem}{suffix}", "masks/{photo}.png", False

_CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then 8 bytes a parameter
_IMAGE = struct.Struct("<I7dI")  # id, pose, camera; then the name, a zero byte, and a count of 2D points
_POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, track length; then 8 bytes an observation
_FRAME = struct.Struct("<II7dI")  # id, rig, pose, count of photos; then 16 bytes a photo
_RIG = struct.Struct("<II")  # id, count of sensors; then 8 bytes for the first, 9 and maybe a pose for others
_COUNT = struct.Struct("<Q")


def detect(path: Path) -> bool:
    """Whether ``path`` has a COLMAP model in one of the places."""
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
    on_disk = files.list_photos(images, deep=True)
    registered = [model.images[i] for i in sorted(model.images, key=lambda i: model.images[i].name)]
    names = [image.name for image in registered]
    missing = [name for name in dict.fromkeys(names) if not files.inside(images, name, file=folder).is_file()]
    posed = [image for image in registered if image.has_pose and image.name not in missing]
    views = []
    for name, image in zip(files.unique_names([image.name for image in posed]), posed, strict=True):
        mask = files.inside(path / "masks", f"{image.name}.png", file=folder)
        camera = _camera(image, model.cameras[image.camera_id], folder)
        views.append(ViewSource(name, images / image.name, camera, mask if mask.is_file() else None))
    bare = [view.name for view in views if view.mask_path is None]
    notes += files.notes_on(
        {
            "in the COLMAP model but not in images/, left out": missing,
            "without a pose in the COLMAP model, left out": [i.name for i in registered if not i.has_pose],
            "in images/ but not in the COLMAP model": sorted(set(on_disk) - set(names)),
            "without a mask in masks/<photo's name>.png": bare if (path / "masks").is_dir() else [],
        }
    )
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
        if found := [p for p in candidates if (p / "cameras.bin").is_file() or (p / "cameras.txt").is_file()]:
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
        _check_binary(folder)
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
    remedy = "undistort the photos with COLMAP's image_undistorter"
    with files.refused(folder, remedy, about=f"camera {camera.camera_id}: "):
        K, lens = intrinsics(camera)
    pose = image.cam_from_world().matrix()
    size = (camera.width, camera.height)
    return files.make_camera(image.name, K, pose[:, :3], pose[:, 3], size, lens, file=folder)


def intrinsics(camera: Any) -> tuple[Array, Lens | None]:
    """A pycolmap camera's K (3, 3), pixel centres at integers, and its lens.

    Raises:
        ValueError: the model is a panorama's, or its numbers are impossible.
    """
    if camera.is_spherical():
        raise ValueError(f"the camera model {camera.model_name} is a panorama's")
    if not camera.verify_params() or not np.isfinite(camera.params).all():
        raise ValueError("its parameters are not finite, or too few")
    fx, fy = (camera.params[i] for i in (camera.focal_length_idxs() * 2)[:2])
    cx, cy = (camera.params[i] for i in camera.principal_point_idxs())
    K = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    rest = camera.params[len(camera.focal_length_idxs()) + 2 :]
    return K, _lens(camera.model_name, tuple(float(k) for k in rest))


def _lens(model: str, k: tuple[float, ...]) -> Lens | None:
    """OpenCV's lens where the model is a case of it (it is the faster one), else COLMAP's own."""
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return None
    if model in ("SIMPLE_RADIAL", "RADIAL"):
        return OpenCVLens((*k, 0.0, 0.0, 0.0)[:4])
    if model in ("OPENCV", "FULL_OPENCV"):
        return OpenCVLens(k)
    return ColmapLens(model, k)


def _check_binary(folder: Path) -> None:
    """Refuse files that are not as long as their counts require. COLMAP 3.12 introduced rigs and frames."""
    for name, end_of in _ENDS.items():
        path = folder / f"{name}.bin"
        if not path.is_file():
            if name in ("rigs", "frames"):
                continue
            raise CaptureError("is missing from the COLMAP model", path=path, remedy="export the model again")
        data = path.read_bytes()
        try:
            (count,), end = _COUNT.unpack_from(data, 0), _COUNT.size
            for _ in range(count):
                end = end_of(data, end)
        except (struct.error, ValueError, KeyError, IndexError, OverflowError):
            end = -1
        if end != len(data):
            raise CaptureError(
                "is truncated or corrupt: its length does not match its counts",
                path=path,
                remedy="copy it again, or export the model again from COLMAP",
            )


def _camera_end(data: bytes, at: int) -> int:
    model = pycolmap.CameraModelId(_CAMERA.unpack_from(data, at)[1])
    parameters = pycolmap.Camera.create_from_model_id(1, model, 1.0, 1, 1).params
    return at + _CAMERA.size + 8 * len(parameters)


def _image_end(data: bytes, at: int) -> int:
    name_end = data.index(b"\0", at + _IMAGE.size) + 1
    return name_end + _COUNT.size + 24 * _COUNT.unpack_from(data, name_end)[0]


def _point_end(data: bytes, at: int) -> int:
    return at + _POINT.size + 8 * _POINT.unpack_from(data, at)[-1]


def _rig_end(data: bytes, at: int) -> int:
    sensors = _RIG.unpack_from(data, at)[1]
    at += _RIG.size + 8 * min(sensors, 1)
    for _ in range(sensors - 1):
        at += 9 + 56 * (data[at + 8] != 0)
    return at


def _frame_end(data: bytes, at: int) -> int:
    return at + _FRAME.size + 16 * _FRAME.unpack_from(data, at)[-1]


_ENDS = {
    "cameras": _camera_end,
    "images": _image_end,
    "points3D": _point_end,
    "rigs": _rig_end,
    "frames": _frame_end,
}
"""{file: where a record ends that begins at some place}."""


def write(folder: Path, views: Sequence[ViewSource], mm_per_unit: float | None) -> None:
    """Write one camera and one photo per view.

    Raises:
        Unsupported: COLMAP has no model for a lens, or its model has one focal length and the camera two.
    """
    model = pycolmap.Reconstruction()
    for id, view in enumerate(views, 1):
        camera = pycolmap.Camera(_pycolmap_camera(view) | {"camera_id": id})
        model.add_camera_with_trivial_rig(camera)
        pose = pycolmap.Rigid3d(np.column_stack([view.camera.R, view.camera.t]))
        name = view.image_path.relative_to(folder / "images").as_posix()
        model.add_image_with_trivial_frame(pycolmap.Image(name=name, camera_id=id, image_id=id), pose)
    (folder / "sparse" / "0").mkdir(parents=True, exist_ok=True)
    model.write(str(folder / "sparse" / "0"))


def _pycolmap_camera(view: ViewSource) -> dict[str, object]:
    """A camera as pycolmap takes it; COLMAP's pixel centres are at (0.5, 0.5)."""
    refuse_skew(view)
    K, lens = view.camera.K, view.camera.lens
    name, coefficients = "PINHOLE", tuple[float, ...]()
    if isinstance(lens, ColmapLens):
        name, coefficients = lens.model, lens.parameters
    elif isinstance(lens, OpenCVLens) and len(lens.coefficients) == 4:
        name, coefficients = "OPENCV", lens.coefficients
    elif isinstance(lens, OpenCVLens) and not any(lens.coefficients[8:]):
        name, coefficients = "FULL_OPENCV", (*lens.coefficients, 0.0, 0.0, 0.0)[:8]
    elif isinstance(lens, BrownLens):
        brown_of(view)  # raises, with the reason
    elif lens is not None:
        raise Unsupported(view.name, "COLMAP's lenses have neither thin prism nor tilt", undistort=True)
    kind = pycolmap.Camera.create_from_model_name(1, name, 1.0, 1, 1)
    focal = [K[0, 0], K[1, 1]]
    if len(kind.focal_length_idxs()) == 1:
        refuse_aspect(view)
        focal = focal[:1]
    params = [*focal, K[0, 2] + 0.5, K[1, 2] + 0.5, *coefficients]
    return {"model": name, "width": view.camera.width, "height": view.camera.height, "params": params}
