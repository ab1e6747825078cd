"""The result of a reconstruction, in memory or in a folder: ``load_face`` is the one reader of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mesoface.captures.capture import Capture
from mesoface.config import MAX_TEXTURE, Settings
from mesoface.errors import MesofaceError
from mesoface.face_models.model import FaceFit
from mesoface.face_models.scale import ScaleEstimate
from mesoface.files.images import as_float, decode_photo, read_header
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.landmarks.types import Landmarks2D, Landmarks3D
from mesoface.relief.predict import MesoRelief, add_relief
from mesoface.results.files import (
    RunCameras,
    damaged,
    load_photos,
    read_cameras,
    read_fit,
    read_landmarks,
    read_record,
    read_space,
    required_file,
)
from mesoface.running.process import Stage
from mesoface.texture import Texture
from mesoface.uvd.maps import erode, grid_faces, resize_mask, within
from mesoface.uvd.space import FineSurface, UVDSpace, ViewCheck

_REGION_SIZE = 192
_INSIDE_MM = 1.0  # how far inside of the facial mask's rim the whole surface ends
_OFF_CENTRE = 0.01  # how far from a texel's centre, in texels, a vertex of fine.ply may lie


@dataclass(frozen=True, eq=False)
class Face:
    """A reconstructed face, in the capture's world frame in millimetres.

    Args:
        base: base mesh in the face model's own topology. It follows the measured surface without its
            detail where there is one, else it is the fitted model.
        fine: the measured surface, or None when the run stopped at the base.
        texture: its colour, or None when the run stopped at the base or none was asked for.
        relief: predicted relief, finer than what was measured, or None where none was asked for.
        fit: the face model's fit to the landmarks.
        capture: the views that were used, in millimetres.
        landmarks2d: landmarks in those views.
        landmarks3d: landmarks in space, mm.
        scale: where the millimetres come from.
        settings: as given.
        stages: time and memory.
        warnings: what the user should know, one sentence each.
        checks: (V,) what was found about the views that were used; empty where cameras were not checked.
    """

    base: Mesh
    fine: FineSurface | None
    texture: Texture | None
    relief: MesoRelief | None
    fit: FaceFit
    capture: Capture
    landmarks2d: Landmarks2D
    landmarks3d: Landmarks3D
    scale: ScaleEstimate
    settings: Settings
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]
    checks: tuple[ViewCheck, ...] = ()

    def after(self, stages: Sequence[Stage]) -> Face:
        """The same face with ``stages`` (loading, say) before those that made it."""
        return replace(self, stages=(*stages, *self.stages))

    @cached_property
    def surface(self) -> Mesh:
        """The fine mesh, or the base mesh when the run stopped there."""
        return self.base if self.fine is None else self.fine.mesh

    @cached_property
    def detailed(self) -> Mesh | None:
        """The fine mesh with predicted relief, vertices moved along their normals; None without either."""
        if self.fine is None or self.relief is None:
            return None
        return add_relief(self.fine.mesh, self.relief)

    @cached_property
    def uncertainty(self) -> NDArray[np.float32] | None:
        """(H, H) one standard deviation of the measured surface, mm, a texel; 0 or NaN where it is not known.

        None where the result states no uncertainty.
        """
        return None if self.fine is None else self.fine.uncertainty

    @cached_property
    def region(self) -> Mesh:
        """The facial mask in space, left-out texels included: where errors to a true surface are measured.

        It is the mask on the measured surface, or on the fitted model where nothing was measured. Eyes, mouth
        and nostrils are not part of it, whether they are measured, filled or open.
        """
        topology = self.fit.model.topology
        if self.fine is None:
            return self.base.select_faces(topology.facial)
        space = self.fine.space
        skin = topology.facial_mask(space.size)
        skin &= space.valid
        if self.settings.holes == "fill":
            # As far as the whole surface goes: its rim lies a little inside of the mask's.
            skin &= erode(np.pad(within(skin), 1), round(_INSIDE_MM / space.texel_mm))[1:-1, 1:-1]
        size = min(_REGION_SIZE, space.size)
        coarse = space.resized(size, resize_mask(skin, size))
        mesh = Mesh(coarse.position.reshape(-1, 3).astype(np.float64), grid_faces(coarse.valid))
        return mesh.select_faces(np.ones(len(mesh.faces), bool))

    def _repr_html_(self) -> str:
        """The face in 3D, for notebooks: it can be turned, and makes no network request."""
        from mesoface.results.scene import notebook_view  # here: pages are not needed without a notebook

        return notebook_view(self)


def load_face(folder: str | Path, *, photos: str | Path | None = None) -> SavedFace:
    """The face that :func:`mesoface.save_face` wrote. Each member is read when it is first used.

    Args:
        folder: the result.
        photos: the capture's folder; None: where it was when the result was written. It is opened only for
            :attr:`SavedFace.capture`.

    Raises:
        MesofaceError: ``folder`` is not a result, or has another layout. Members raise it, naming the file,
            when a file of theirs is missing, damaged, or does not fit the others.
    """
    return SavedFace(Path(folder), None if photos is None else Path(photos))


class SavedFace(Face):
    """A face in a result folder; ``dataclasses.replace`` makes a plain :class:`Face` of it.

    It differs from the face that was saved in what the files do not hold:

    * ``base`` has the decimals of ``base.obj``, ``fine.mesh`` the 32-bit floats of ``fine.ply``.
    * ``fine.confidence``, ``texture.color`` and ``fine.visibility`` have 8 bits. ``fine.space`` and
      ``fine.visibility`` are interpolated where they are larger than 512² texels; ``fine.mesh`` is still at
      ``space.position + space.normal * displacement``.
    * ``fit.model`` has a name and a topology, but neither basis nor landmarks: a :class:`.files.SavedModel`.
    * ``capture`` reads the photos from where they are; its views have the result's cameras.
    * ``stages`` ends with the stages of writing; times are rounded.

    Args:
        folder: the result.
        photos: the capture's folder, or None for the recorded one.

    Attributes:
        folder: the result.
        record: what ``run.json`` holds.
    """

    def __new__(cls, *args: Any, **members: Any) -> Face:  # type: ignore[misc]
        """``dataclasses.replace`` passes all members: then it is a face in memory."""
        return Face(*args, **members) if members else super().__new__(cls)

    def __init__(self, folder: Path, photos: Path | None) -> None:
        vars(self).update(folder=folder, record=read_record(folder), _photos=photos)

    folder: Path
    record: dict[str, Any]
    _photos: Path | None

    @cached_property
    def base(self) -> Mesh:
        """See :class:`Face`."""
        mesh = read_mesh(self._file("base.obj"))
        if mesh.uv is None:
            raise damaged("has no UVs", self.folder / "base.obj")
        return mesh

    @cached_property
    def surface(self) -> Mesh:
        """See :class:`Face`."""
        return read_mesh(self._file("fine.ply")) if "surface" in self.record else self.base

    @cached_property
    def fine(self) -> FineSurface | None:
        """See :class:`Face`."""
        if "surface" not in self.record:
            return None
        surface, displacement = self.surface, self._map("displacement.exr")
        try:
            row, column = texels_of(surface, len(displacement))
        except ValueError as error:
            raise damaged(f"{error}", self.folder / "fine.ply") from error
        kept = np.isfinite(displacement)
        confidence = as_float(self._square("confidence.png")[..., 0])
        if len(confidence) != len(kept):
            what = f"is {len(confidence)}², displacement.exr is {len(kept)}²"
            raise damaged(what, self.folder / "confidence.png")
        sigma = self.uncertainty
        if sigma is not None and sigma.shape != kept.shape:
            what = f"does not fit the surface: is {len(sigma)}², displacement.exr is {len(kept)}²"
            raise damaged(what, self.folder / "uncertainty.exr")
        displacement = np.where(kept, displacement, 0).astype(np.float32)
        space, filled, visibility = read_space(self._file("space.npz"), len(kept), len(self.cameras.views))
        mesh = replace(surface, measured=~filled[row, column])
        # What was interpolated gives way to what the mesh itself says.
        offset = space.normal[row, column] * displacement[row, column, None]
        space.position[row, column] = mesh.vertices - offset
        return FineSurface(
            mesh,
            UVDSpace(space.position, space.normal, space.valid),
            displacement,
            kept,
            filled,
            confidence,
            visibility,
            left_out=float(1 - (kept & ~filled & space.valid).sum() / max(space.valid.sum(), 1)),
            uncertainty=None if sigma is None else np.nan_to_num(sigma),
        )

    @cached_property
    def texture(self) -> Texture | None:
        """See :class:`Face`."""
        if "texture" not in self.record:
            return None
        seen = self._square("texture_seen.png")[..., 0] > 127
        color = as_float(self._square("texture.png"))
        if len(seen) != len(color):
            raise MesofaceError("has another size than texture.png", path=self.folder / "texture_seen.png")
        return Texture(color, seen)

    @cached_property
    def relief(self) -> MesoRelief | None:
        """See :class:`Face`."""
        if "meso" not in self.record:
            return None
        height = self._map("meso.exr")
        valid = np.isfinite(height)
        source, texel = self._recorded(str, "meso", "source"), self._recorded(float, "meso", "texel_mm")
        return MesoRelief(np.where(valid, height, 0).astype(np.float32), valid, source, texel)

    @cached_property
    def fit(self) -> FaceFit:
        """See :class:`Face`."""
        return read_fit(self._file("base_fit.npz"), self.base, self._recorded(str, "face_model"))

    @cached_property
    def cameras(self) -> RunCameras:
        """Cameras of the views, and where the photos were."""
        return read_cameras(self._file("cameras.json"))

    @cached_property
    def capture(self) -> Capture:
        """See :class:`Face`.

        Raises:
            MesofaceError: the photos are not there, or are not those that were used.
        """
        cameras = self.cameras
        views = []
        for view, name in zip(load_photos(cameras, self._photos), cameras.views, strict=True):
            if view is None:
                raise MesofaceError(
                    f"the photo of view {name} has another size than the one that was used",
                    path=self._photos or cameras.capture,
                    remedy="name the folder with the photos of this result",
                )
            views.append(view)
        return Capture(tuple(views), self._photos or cameras.capture, cameras.format, mm_per_unit=1.0)

    @cached_property
    def uncertainty(self) -> NDArray[np.float32] | None:
        """See :class:`Face`."""
        return self._map("uncertainty.exr") if (self.folder / "uncertainty.exr").is_file() else None

    region = cached_property(lambda self: read_mesh(self._file("region.ply")))
    landmarks2d = cached_property(lambda self: self._landmarks[0])
    landmarks3d = cached_property(lambda self: self._landmarks[1])
    settings = cached_property(lambda self: self._recorded(Settings, "settings"))
    stages = cached_property(lambda self: self._recorded(tuple[Stage, ...], "stages"))
    warnings = cached_property(lambda self: self._recorded(tuple[str, ...], "warnings"))

    @cached_property
    def checks(self) -> tuple[ViewCheck, ...]:
        """See :class:`Face`. Empty for results of before they were recorded."""
        return self._recorded(tuple[ViewCheck, ...], "checks") if "checks" in self.record else ()

    @cached_property
    def scale(self) -> ScaleEstimate:
        """See :class:`Face`."""
        whole = self.record.get("scale")
        scale = {"mm_per_unit": self.record.get("mm_per_unit"), **(whole if isinstance(whole, dict) else {})}
        return self._valid(ScaleEstimate, scale, "scale")

    @cached_property
    def errors(self) -> NDArray[np.float32] | None:
        """(H, H) distance of ``fine.mesh`` to the true surface, mm, NaN where unknown; or None."""
        return self._map("error.exr") if (self.folder / "error.exr").is_file() else None

    @cached_property
    def _landmarks(self) -> tuple[Landmarks2D, Landmarks3D]:
        scheme = self._recorded(str, "landmarks", "scheme")
        notes = self._recorded(tuple[str, ...], "landmarks", "notes")
        return read_landmarks(self._file("landmarks.npz"), len(self.cameras.views), scheme, notes)

    def _file(self, name: str) -> Path:
        return required_file(self.folder, name)

    def _recorded(self, kind: Any, *keys: str) -> Any:
        """A value of ``run.json``."""
        value: Any = self.record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return self._valid(kind, value, ".".join(keys))

    def _valid(self, kind: Any, value: object, name: str) -> Any:
        try:
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            path = self.folder / "run.json"
            raise damaged(f"{name!r} cannot be used: {problem}", path) from error

    def _map(self, name: str) -> NDArray[np.float32]:
        """(H, H) a map of one channel."""
        path = self._file(name)
        values = read_exr(path)
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            raise damaged(f"is a map of {values.shape}, a square of one channel was expected", path)
        return values

    def _square(self, name: str) -> NDArray[np.uint8]:
        """(H, H, 3) a picture of 8 bits a channel."""
        path = self._file(name)
        header = read_header(path)
        if header.width != header.height or header.width > MAX_TEXTURE:
            raise damaged(
                f"is {header.width} × {header.height} pixels, a square of at most {MAX_TEXTURE} was expected",
                path,
            )
        pixels, _ = decode_photo(path)
        if pixels.dtype != np.uint8:
            raise damaged("has 16 bits a channel, 8 were expected", path)
        return pixels.astype(np.uint8, copy=False)


def texels_of(mesh: Mesh, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) row and (N,) column of the texel that each vertex lies on, of a map of ``size``².

    Raises:
        ValueError: the mesh's UVs are not the centres of the map's texels.
    """
    if mesh.uv is None or mesh.uv_faces is not None:
        raise ValueError("its vertices have no UVs")
    column, row = mesh.uv[:, 0] * size - 0.5, (1 - mesh.uv[:, 1]) * size - 0.5
    c, r = np.rint(column).astype(np.int64), np.rint(row).astype(np.int64)
    off = max(np.abs(column - c).max(), np.abs(row - r).max())
    if off > _OFF_CENTRE or min(c.min(), r.min()) < 0 or max(c.max(), r.max()) >= size:
        raise ValueError(f"its vertices are not the texels of displacement.exr, {size}²")
    return r, c
