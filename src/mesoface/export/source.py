"""What exports are made of: a face in memory, or the result folder that it was written to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.files.images import decode_photo, read_header
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.results.face import Face
from mesoface.results.folder import BaseFit, base_fit, read_base_fit, read_record, required_file
from mesoface.surface.detail import DetailMaps, FineMaps, detail_maps

_AGAIN = "run `mesoface reconstruct` again"
# How far from a texel's centre, in texels, a vertex of fine.ply may say it is.
_OFF_CENTRE = 0.01


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A reconstructed face, ready to be exported.

    Args:
        base: base mesh with UVs, mm.
        fit: the face model's coefficients, and its axes in the world.
        model: the face model's name.
        fine: the measured surface, or None where the run stopped at the base.
        relief: (R, R) predicted relief, mm along the measured surface's normals, or None.
        color: (T, T, 3) uint8 sRGB texture in the base's UVs, or None.
        world: (3, 3) and (3,): a point x of this face is at ``rotation @ x + translation`` in the capture's
            world, mm.
    """

    base: Mesh
    fit: BaseFit
    model: str
    fine: FineMaps | None
    relief: NDArray[np.float32] | None
    color: NDArray[np.uint8] | None
    world: tuple[NDArray[np.float64], NDArray[np.float64]]

    @cached_property
    def detail(self) -> DetailMaps | None:
        """The detailed surface as maps without holes; None where nothing was measured."""
        if self.fine is None:
            return None
        return detail_maps(self.base, self.fit.facial, self.fine, self.relief)

    def upright(self) -> ExportSource:
        """The same face in its own axes: x to the subject's left, y up, z out of the face."""
        rotation, translation = self.fit.rotation, self.fit.translation
        fine = self.fine
        if fine is not None:
            turned = (fine.position.astype(np.float64) - translation) @ rotation
            position = np.where(fine.measured[..., None], turned, 0).astype(np.float32)
            fine = replace(fine, position=position)
        base = self.base.with_vertices((self.base.vertices - translation) @ rotation)
        return replace(self, base=base, fine=fine, world=(rotation, translation))


def face_source(face: Face) -> ExportSource:
    """A face in memory, in the capture's world frame."""
    fine = None
    if face.fine is not None:
        fine = _fine_maps(face.fine.mesh, face.fine.displacement)
    # OpenCV rounds as the texture's own file does, and takes no second copy in floats.
    color = None if face.texture is None else cv2.convertScaleAbs(face.texture.color, alpha=255)
    relief = None if face.relief is None else face.relief.height
    return _source(face.base, base_fit(face.fit), face.fit.model.name, fine, relief, color)


def read_source(run: str | Path) -> ExportSource:
    """A result of ``mesoface reconstruct``, in the capture's world frame.

    Raises:
        MesofaceError: ``run`` is no result, is incomplete, is of another version, or its files do not fit
            each other.
    """
    run = Path(run)
    record = read_record(run)
    base_path, fit_path = required_file(run, "base.obj"), required_file(run, "base_fit.npz")
    base, fit = read_mesh(base_path), read_base_fit(fit_path)
    if base.uv is None:
        raise MesofaceError("has no UVs", path=base_path, remedy=_AGAIN)
    if len(fit.facial) != len(base.faces):
        raise MesofaceError(
            f"is for a base mesh of {len(fit.facial)} faces, base.obj has {len(base.faces)}",
            path=fit_path,
            remedy=_AGAIN,
        )
    fine = None
    if record["settings"].get("until") == "fine":
        mesh_path, map_path = required_file(run, "fine.ply"), required_file(run, "displacement.exr")
        displacement = _read_square(map_path)
        try:
            fine = _fine_maps(read_mesh(mesh_path), displacement)
        except ValueError as error:
            raise MesofaceError(f"{error}", path=mesh_path, remedy=_AGAIN) from error
    relief = _read_relief(required_file(run, "meso.exr")) if "meso" in record else None
    color = None
    if "texture" in record:
        color = read_texture(required_file(run, "texture.png"))
    return _source(base, fit, str(record.get("face_model", "")), fine, relief, color)


def _source(
    base: Mesh,
    fit: BaseFit,
    model: str,
    fine: FineMaps | None,
    relief: NDArray[np.float32] | None,
    color: NDArray[np.uint8] | None,
) -> ExportSource:
    return ExportSource(base, fit, model, fine, relief, color, (np.eye(3), np.zeros(3)))


def _read_square(path: Path) -> NDArray[np.float32]:
    """(H, H) a map of one channel."""
    values = read_exr(path)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise MesofaceError(
            f"is a map of {values.shape}, a square of one channel was expected", path=path, remedy=_AGAIN
        )
    return values


def _read_relief(path: Path) -> NDArray[np.float32]:
    """(R, R) predicted relief, mm; 0 where none was predicted."""
    return np.nan_to_num(_read_square(path), nan=0.0, posinf=0.0, neginf=0.0)


def _fine_maps(mesh: Mesh, displacement: NDArray[np.float32]) -> FineMaps:
    """The fine mesh's vertices back on their texels.

    Raises:
        ValueError: the mesh's UVs are not the centres of the map's texels.
    """
    if mesh.uv is None or mesh.uv_faces is not None:
        raise ValueError("its vertices have no UVs")
    size = len(displacement)
    column, row = mesh.uv[:, 0] * size - 0.5, (1 - mesh.uv[:, 1]) * size - 0.5
    c, r = np.rint(column).astype(np.int64), np.rint(row).astype(np.int64)
    off = max(np.abs(column - c).max(), np.abs(row - r).max())
    if off > _OFF_CENTRE or min(c.min(), r.min()) < 0 or max(c.max(), r.max()) >= size:
        raise ValueError(f"its vertices are not the texels of displacement.exr, {size}²")
    position = np.zeros((size, size, 3), np.float32)
    position[r, c] = mesh.vertices
    measured = np.zeros((size, size), bool)
    measured[r, c] = True
    measured &= np.isfinite(displacement)
    return FineMaps(position, np.where(measured, displacement, 0).astype(np.float32), measured)


def read_texture(path: Path) -> NDArray[np.uint8]:
    """(T, T, 3) the texture of a result.

    Raises:
        MesofaceError: it cannot be read, or is no square of 8 bits a channel.
    """
    header = read_header(path)
    if header.width != header.height:
        raise MesofaceError(
            f"is {header.width} × {header.height} pixels, a square was expected", path=path, remedy=_AGAIN
        )
    pixels, _ = decode_photo(path)
    if pixels.dtype != np.uint8:
        raise MesofaceError("has 16 bits a channel, 8 were expected", path=path, remedy=_AGAIN)
    return pixels.astype(np.uint8, copy=False)
