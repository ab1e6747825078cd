"""The files of a result folder but meshes and maps: its record, its arrays (``.npz``) and its cameras.

``run.json`` is the record; ``base_fit.npz``, ``landmarks.npz`` and ``space.npz`` hold the arrays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from mesoface.captures.capture import Capture, View
from mesoface.captures.load import load_capture
from mesoface.errors import FaceModelError, MesofaceError
from mesoface.face_models.model import FaceFit, Topology
from mesoface.files.atomic import atomic_file
from mesoface.files.npz import read_npz, require
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh, unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import resize_map
from mesoface.uvd.space import FineSurface, UVDSpace

FORMAT = 4
"""Version of the layout. 2 added ``base_fit.npz``; 3 ``landmarks.npz`` and ``space.npz``; 4 ``measured.png``
and, in ``base_fit.npz``, the faces across the openings."""
REPORT = "report.html"
AGAIN = "run `mesoface reconstruct` again"
"""Remedy for a result that is incomplete or damaged."""

_MAX_RECORD = 16 << 20
SPACE_SIZE = 512
"""Largest side of the maps in ``space.npz``: what they hold is smooth over millimetres."""
_MOST_TEXELS = 1 << 30  # of all views' visibility: 4 GB
_POSITION_STEP, _NORMAL_STEP = 2.0**-10, 2.0**-14  # mm, and of the unit vectors
_GAPS = {"points2d", "points3d", "residuals3d", "residuals"}  # NaN where nothing is known
_FIT: dict[str, tuple[int | None, ...]] = {
    "identity": (None,), "expression": (None,), "rotation": (3, 3), "translation": (3,), "scale": (),
    "vertices": (None, 3), "residuals": (None, None), "iterations": (),
}  # fmt: skip
_MAX_CAMERAS = 4 << 20  # bytes; 120 views take 70 kB
_Row3 = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Size = Annotated[int, Field(ge=1, le=1 << 20)]


def damaged(what: str, path: str | Path) -> MesofaceError:
    """The error about a file of a result that cannot be used."""
    return MesofaceError(what, path=path, remedy=AGAIN)


def read_record(run: str | Path) -> dict[str, Any]:
    """What ``run.json`` of a result says.

    Raises:
        MesofaceError: ``run`` is no result, its ``run.json`` cannot be read, or another version of mesoface
            with another layout wrote it.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise MesofaceError(
            "is not the result of `mesoface reconstruct` (no run.json)",
            path=run,
            remedy="name a folder that it wrote",
        )
    try:
        if path.stat().st_size > _MAX_RECORD:
            raise ValueError(f"larger than {_MAX_RECORD >> 20} MB")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(f"cannot be read ({error})", path) from error
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise damaged("is not what `mesoface reconstruct` writes", path)
    if record.get("format") != FORMAT:
        writer = record.get("mesoface", "of unknown version")
        raise MesofaceError(
            f"has layout {record.get('format')!r}, of mesoface {writer}; this version reads layout {FORMAT}",
            path=run,
            remedy=f"{AGAIN} with this version, or use that one",
        )
    return record


def required_file(run: str | Path, name: str) -> Path:
    """The file ``name`` of a result.

    Raises:
        MesofaceError: it is missing.
    """
    path = Path(run) / name
    if not path.is_file():
        raise damaged(f"the result is incomplete: {name} is missing", run)
    return path


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a result keeps of the face model that was fitted: not its basis, which may be licensed.

    Args:
        name: as ``--face-model`` calls it.
        topology: faces, UVs and the facial mask, without landmarks.
        n_identity: how many coefficients are identity's.
        n_expression: how many are expression's.
    """

    name: str
    topology: Topology
    n_identity: int
    n_expression: int

    bounds = None  # not kept

    def shape(self, *_: Any, **__: Any) -> NoReturn:
        """The basis is not in a result.

        Raises:
            MesofaceError: always.
        """
        raise MesofaceError(
            f"a result does not hold the basis of the face model {self.name!r}",
            remedy="load the model with mesoface.face_models.load_face_model",
        )

    points = shape


def write_fit(path: Path, fit: FaceFit) -> None:
    """Write ``base_fit.npz``: the facial mask, the faces across its openings, and the fit but for its model.

    Raises:
        MesofaceError: it cannot be written.
    """
    topology = fit.model.topology
    _write(
        path,
        facial=topology.facial,
        closing=topology.closed & ~topology.facial,
        **{name: getattr(fit, name) for name in _FIT},
    )


def read_fit(path: Path, base: Mesh, name: str) -> FaceFit:
    """Read ``base_fit.npz``.

    Args:
        path: the file.
        base: the base mesh, whose topology the model shares.
        name: of the face model.

    Raises:
        MesofaceError: it is damaged, or belongs to another base mesh.
    """
    arrays = _read(path, facial=(None,), closing=(None,), **_FIT)
    facial, closing = (arrays.pop(mask).astype(bool) for mask in ("facial", "closing"))
    a: dict[str, Any] = {name: values.astype(np.float64) for name, values in arrays.items()}
    if {len(facial), len(closing)} != {len(base.faces)} or len(a["vertices"]) != len(base.vertices):
        raise damaged(
            f"is for a base mesh of {len(facial)} faces and {len(a['vertices'])} vertices, base.obj has "
            f"{len(base.faces)} and {len(base.vertices)}",
            path,
        )
    if np.abs(a["rotation"] @ a["rotation"].T - np.eye(3)).max() > 1e-4 or np.linalg.det(a["rotation"]) < 0:
        raise damaged("'rotation' is no rotation", path)
    assert base.uv is not None
    topology = Topology(base.faces, base.uv, base.uv_index, facial, {}, {}, {}, closing)
    model = SavedModel(name, topology, len(a["identity"]), len(a["expression"]))
    return FaceFit(model, **(a | {"scale": float(a["scale"]), "iterations": int(a["iterations"])}))


def write_landmarks(path: Path, landmarks2d: Landmarks2D, landmarks3d: Landmarks3D) -> None:
    """Write ``landmarks.npz``; scheme and notes are in ``run.json``.

    Raises:
        MesofaceError: it cannot be written.
    """
    in2d = {f"{name}2d": getattr(landmarks2d, name) for name in ("points", "weights")}
    names = ("points", "weights", "residuals", "distrusted")
    _write(path, **in2d, **{f"{name}3d": getattr(landmarks3d, name) for name in names})


def read_landmarks(
    path: Path, views: int, scheme: str, notes: Sequence[str]
) -> tuple[Landmarks2D, Landmarks3D]:
    """Read ``landmarks.npz``.

    Args:
        path: the file.
        views: how many there are.
        scheme: of the landmarks.
        notes: of the detector.

    Raises:
        MesofaceError: it is damaged, or has another number of views.
    """
    by_view = dict.fromkeys(("weights2d", "weights3d", "residuals3d"), (views, None))
    a = _read(path, points2d=(views, None, 2), points3d=(None, 3), distrusted3d=(views,), **by_view)
    distrusted = a.pop("distrusted3d").astype(bool)
    if len({values.shape[0 if name == "points3d" else 1] for name, values in a.items()}) != 1:
        raise damaged("its arrays hold different numbers of landmarks", path)
    a = {name: values.astype(np.float64) for name, values in a.items()}
    return (
        Landmarks2D(a["points2d"], a["weights2d"], scheme, tuple(notes)),
        Landmarks3D(a["points3d"], a["weights3d"], a["residuals3d"], distrusted, scheme),
    )


def write_space(path: Path, fine: FineSurface) -> None:
    """Write ``space.npz``: what is known of a measured surface beside its mesh and maps.

    Position, normals and visibility are at most :data:`SPACE_SIZE` texels wide; positions have steps of 1 µm,
    normals of 1/16384, visibility of 1/255. The masks are complete, a bit a texel.

    Raises:
        MesofaceError: it cannot be written.
    """
    size = min(SPACE_SIZE, fine.space.size)
    small = fine.space.resized(size)
    seen = [cv2.resize(view, (size, size), interpolation=cv2.INTER_AREA) for view in fine.visibility]
    _write(
        path,
        position=_packed(small.position, _POSITION_STEP),
        normal=_packed(small.normal, _NORMAL_STEP),
        visibility=np.rint(255 * np.stack(seen)).astype(np.uint8),
        valid=np.packbits(fine.space.valid),
        filled=np.packbits(fine.filled),
    )


def read_space(path: Path, size: int, views: int) -> tuple[UVDSpace, NDArray[np.bool_], NDArray[np.float32]]:
    """Read ``space.npz``.

    Args:
        path: the file.
        size: side of the result's maps, texels.
        views: how many there are.

    Returns:
        the base surface, (H, H) filled texels, (V, H, H) visibility; H = ``size``.

    Raises:
        MesofaceError: it is damaged, or does not fit the result's other files.
    """
    if views * size**2 > _MOST_TEXELS:
        raise damaged(f"{views} views of maps of {size}² take too much memory", path)
    small, packed = min(SPACE_SIZE, size), (size * size + 7) // 8
    maps = dict.fromkeys(("position", "normal"), (small, small, 3))
    masks = dict.fromkeys(("valid", "filled"), (packed,))
    a = _read(path, **maps, **masks, visibility=(views, small, small))
    valid, filled = (
        np.unpackbits(a[name].astype(np.uint8), count=size * size).reshape(size, size).astype(bool)
        for name in ("valid", "filled")
    )
    everywhere = np.ones((small, small), bool)
    position = resize_map(_unpacked(a["position"], _POSITION_STEP), everywhere, size)
    normal = unit(resize_map(_unpacked(a["normal"], _NORMAL_STEP), everywhere, size))
    visibility = np.zeros((views, size, size), np.float32)
    for view, seen in zip(visibility, a["visibility"], strict=True):
        view[:] = cv2.resize(seen.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_LINEAR)
    return UVDSpace(position, normal, valid), filled, visibility


def _packed(values: NDArray[np.float32], step: float) -> NDArray[np.int32]:
    """A smooth (H, W, C) map in whole steps, as differences along both axes: they compress to a fifth."""
    steps = np.rint(values.astype(np.float64) / step).astype(np.int32)
    return np.diff(np.diff(steps, axis=0, prepend=0), axis=1, prepend=0)


def _unpacked(differences: NDArray, step: float) -> NDArray[np.float32]:
    """What :func:`_packed` was given, to half a step."""
    steps = np.cumsum(np.cumsum(differences, axis=1, dtype=np.float64), axis=0)
    return (steps * step).astype(np.float32)


def _write(path: Path, **arrays: Any) -> None:
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _read(path: Path, **shapes: tuple[int | None, ...]) -> dict[str, NDArray]:
    """The arrays of these names and shapes, all numbers.

    Raises:
        MesofaceError: one is missing, or is something else.
    """
    try:
        arrays = read_npz(path, shapes)
        checked = {name: np.where(np.isnan(a), 0, a) if name in _GAPS else a for name, a in arrays.items()}
        require(path, checked, **shapes)
    except FaceModelError as error:
        raise damaged(error.message, path) from error
    return arrays


@dataclass(frozen=True, eq=False)
class RunCameras:
    """What ``cameras.json`` holds.

    Args:
        views: the pinhole cameras of the undistorted photos by view, in the order in which the
            reconstruction used them; mm.
        capture: the folder that the photos came from, or None when they were made in memory.
        format: name of that folder's format.
    """

    views: dict[str, Camera]
    capture: Path | None
    format: str


class _View(BaseModel, extra="forbid"):
    name: str
    width: _Size
    height: _Size
    K: tuple[_Row3, _Row3, _Row3]
    R: tuple[_Row3, _Row3, _Row3]
    t: _Row3
    photo: str | None


class _Cameras(BaseModel, extra="forbid"):
    format: Literal[1]  # version of the file's layout
    unit: Literal["mm"]
    capture: str | None
    capture_format: str
    views: list[_View]


def write_cameras(path: Path, capture: Capture) -> None:
    """Write the cameras of ``capture``, whose unit is the millimetre, as plain JSON.

    Everything is in the result's own world frame and in millimetres, with OpenCV's axes (x right, y down, z
    forward), ``x_cam = R @ x_world + t``, pixel centres at integers. The cameras are those of the photos as
    they were used: undistorted, without a lens, and corrected where the photos disagreed with the
    calibration. Paths are relative to the file, so that it can be moved together with the capture.

    Args:
        path: the file, in a folder that exists.
        capture: undistorted views with their cameras.
    """

    def relative(to: Path | None) -> str | None:
        return None if to is None else os.path.relpath(to, path.parent)

    views = [
        _View(
            name=view.name,
            width=view.camera.width,
            height=view.camera.height,
            K=view.camera.K.tolist(),
            R=view.camera.R.tolist(),
            t=view.camera.t.tolist(),
            photo=relative(view.image_path),
        )
        for view in capture.views
    ]
    folder = relative(capture.path)
    file = _Cameras(format=1, unit="mm", capture=folder, capture_format=capture.format, views=views)
    path.write_text(json.dumps(file.model_dump(), indent=1) + "\n", encoding="utf-8")


def read_cameras(path: Path) -> RunCameras:
    """Read what :func:`write_cameras` wrote. Photos are neither opened nor searched for.

    Raises:
        MesofaceError: the file is missing, too large, from another version, or describes no cameras.
    """
    try:
        if path.stat().st_size > _MAX_CAMERAS:
            raise damaged(f"more than {_MAX_CAMERAS >> 20} MB", path)
        file = _Cameras.model_validate_json(path.read_bytes())
        views = {
            view.name: Camera(np.array(view.K), np.array(view.R), np.array(view.t), view.width, view.height)
            for view in file.views
        }
    except OSError as error:
        raise damaged(f"cannot be read: {error.strerror}", path) from error
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise damaged(f"{name}: {problem['msg']}", path) from error
    except ValueError as error:
        raise damaged(f"not a camera: {error}", path) from error
    if len(views) != len(file.views):
        raise damaged("two views have the same name", path)
    folder = None if file.capture is None else path.parent / file.capture
    return RunCameras(views, folder, file.capture_format)


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
    loaded = load_capture(folder, format=format, names=list(cameras.views), progress=progress)
    pairs = zip(loaded.views, cameras.views.values(), strict=True)
    return [
        replace(view, camera=camera) if view.image.shape[:2] == (camera.height, camera.width) else None
        for view, camera in pairs
    ]
