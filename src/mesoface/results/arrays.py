"""The arrays of a result in ``.npz`` files: ``base_fit.npz``, ``landmarks.npz`` and ``space.npz``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import FaceModelError, MesofaceError
from mesoface.face_models.model import FaceFit, Topology
from mesoface.files.atomic import atomic_file
from mesoface.files.npz import read_npz, require
from mesoface.geometry.mesh import Mesh, unit
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.results.folder import AGAIN
from mesoface.uvd.maps import resize_map
from mesoface.uvd.space import FineSurface, UVDSpace

SPACE_SIZE = 512
"""Largest side of the maps in ``space.npz``: what they hold is smooth over millimetres."""
_MOST_TEXELS = 1 << 30  # of all views' visibility: 4 GB
_POSITION_STEP, _NORMAL_STEP = 2.0**-10, 2.0**-14  # mm, and of the unit vectors
_GAPS = {"points2d", "points3d", "residuals3d", "residuals"}  # NaN where nothing is known
_FIT: dict[str, tuple[int | None, ...]] = {
    **{"identity": (None,), "expression": (None,), "rotation": (3, 3), "translation": (3,), "scale": ()},
    **{"vertices": (None, 3), "residuals": (None, None), "iterations": ()},
}


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

    @property
    def bounds(self) -> None:
        """See :attr:`mesoface.face_models.model.FaceModel.bounds`; not kept."""
        return

    def shape(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """The basis is not in a result.

        Raises:
            MesofaceError: always.
        """
        raise MesofaceError(
            f"a result does not hold the basis of the face model {self.name!r}",
            remedy="load the model with mesoface.face_models.load_face_model",
        )

    def points(
        self, identity: NDArray, expression: NDArray, corners: NDArray[np.int64], bary: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As :meth:`shape`."""
        self.shape(identity, expression)
        raise AssertionError


def write_fit(path: Path, fit: FaceFit) -> None:
    """Write ``base_fit.npz``: the facial mask, and the fit but for its model.

    Raises:
        MesofaceError: it cannot be written.
    """
    _write(path, facial=fit.model.topology.facial, **{name: getattr(fit, name) for name in _FIT})


def read_fit(path: Path, base: Mesh, name: str) -> FaceFit:
    """Read ``base_fit.npz``.

    Args:
        path: the file.
        base: the base mesh, whose topology the model shares.
        name: of the face model.

    Raises:
        MesofaceError: it is damaged, or belongs to another base mesh.
    """
    arrays = _read(path, facial=(None,), **_FIT)
    facial = arrays.pop("facial").astype(bool)
    a: dict[str, Any] = {name: values.astype(np.float64) for name, values in arrays.items()}
    if len(facial) != len(base.faces) or len(a["vertices"]) != len(base.vertices):
        raise MesofaceError(
            f"is for a base mesh of {len(facial)} faces and {len(a['vertices'])} vertices, base.obj has "
            f"{len(base.faces)} and {len(base.vertices)}",
            path=path,
            remedy=AGAIN,
        )
    if np.abs(a["rotation"] @ a["rotation"].T - np.eye(3)).max() > 1e-4 or np.linalg.det(a["rotation"]) < 0:
        raise MesofaceError("'rotation' is no rotation", path=path, remedy=AGAIN)
    assert base.uv is not None
    topology = Topology(base.faces, base.uv, base.uv_index, facial, {}, {}, {})
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
        raise MesofaceError("its arrays hold different numbers of landmarks", path=path, remedy=AGAIN)
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
        raise MesofaceError(f"{views} views of maps of {size}² take too much memory", path=path, remedy=AGAIN)
    small, packed = min(SPACE_SIZE, size), (size * size + 7) // 8
    a = _read(
        path,
        position=(small, small, 3),
        normal=(small, small, 3),
        visibility=(views, small, small),
        valid=(packed,),
        filled=(packed,),
    )
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
        raise MesofaceError(error.message, path=path, remedy=AGAIN) from error
    return arrays
