"""What the viewer shows, read from a result's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.evaluation import GroundTruth
from mesoface.export.source import read_texture
from mesoface.files.images import decode_photo
from mesoface.files.maps import read_exr
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.results.cameras import RunCameras, RunView, read_cameras
from mesoface.results.folder import BaseFit, read_base_fit, read_record, required_file
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import sample_map

RGB = NDArray[np.uint8]

# Files of the surfaces, the most finished first. Only a run that went on to it has the detailed one.
_SURFACES = (("detailed", "detailed.ply"), ("fine", "fine.ply"), ("base", "base.obj"))
_LARGEST_PHOTO = 1280


@dataclass(frozen=True, eq=False)
class ViewedSurface:
    """A surface and the numbers on it.

    Args:
        mesh: one UV a vertex, normals, mm.
        confidence: (N,) in [0, 1], or None.
        errors: (N,) distance to the true surface, mm, NaN where it does not count; or None.
    """

    mesh: Mesh
    confidence: NDArray[np.float32] | None
    errors: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class ViewedResult:
    """A result, ready to be shown.

    Args:
        name: of the capture.
        surfaces: by name, the most finished first.
        texture: (T, T, 3) uint8 sRGB in the base's UVs, or None.
        fit: the face's axes in the world.
        views: cameras of the photos.
        photos: undistorted photos, uint8, by view; a view without one is not in it.
        notes: what is missing and why, one sentence each.
    """

    name: str
    surfaces: dict[str, ViewedSurface]
    texture: RGB | None
    fit: BaseFit
    views: tuple[RunView, ...]
    photos: dict[str, RGB]
    notes: tuple[str, ...]


def read_result(
    run: str | Path,
    *,
    capture: Path | None = None,
    truth: Path | None = None,
    progress: ProgressCallback = silent,
) -> ViewedResult:
    """Read the folder that ``mesoface reconstruct`` wrote, and the photos where they still are.

    Args:
        run: the folder.
        capture: where the photos are now; None: where ``cameras.json`` says. Photos that are not there are a
            note, unless the folder was given here.
        truth: the true surface, mm, to measure every surface against; None: what the run measured itself.
        progress: called as files are read.

    Raises:
        MesofaceError: ``run`` is no result, is incomplete or of another version, or ``capture`` or ``truth``
            cannot be used.
    """
    run = Path(run)
    record = read_record(run)
    cameras = read_cameras(required_file(run, "cameras.json"))
    fit = read_base_fit(required_file(run, "base_fit.npz"))
    measured = record["settings"].get("until") == "fine"
    if measured:
        required_file(run, "fine.ply")
    required_file(run, "base.obj")
    files = [(name, run / file) for name, file in _SURFACES if (run / file).is_file()]
    confidence = _read_confidence(run) if measured else None
    truth_surface = None
    if truth is not None:
        truth_surface = GroundTruth(read_mesh(truth), read_mesh(required_file(run, "region.ply")))
    surfaces = {}
    for done, (name, path) in enumerate(files):
        progress("Surfaces", done, len(files))
        mesh = read_mesh(path)
        mesh = replace(mesh, normals=mesh.vertex_normals()).with_one_index()
        errors = None
        if truth_surface is not None:
            errors = _distances(mesh, truth_surface)
        elif name == "fine":
            errors = _measured_errors(run, mesh)
        surfaces[name] = ViewedSurface(mesh, _on_vertices(confidence, mesh), errors)
    progress("Surfaces", len(files), len(files))
    texture = read_texture(required_file(run, "texture.png")) if "texture" in record else None
    notes = [] if texture is not None else ["no texture: the run made none"]
    if all(surface.errors is None for surface in surfaces.values()):
        notes.append("no errors: the true surface is not known (--truth)")
    photos, missing = _photos(cameras, capture, progress)
    name = str(record.get("capture", {}).get("path", run))
    return ViewedResult(Path(name).name, surfaces, texture, fit, cameras.views, photos, (*notes, *missing))


def _photos(
    cameras: RunCameras, capture: Path | None, progress: ProgressCallback
) -> tuple[dict[str, RGB], Sequence[str]]:
    """The undistorted photos by view, and what to say about those that are not there."""
    folder = capture or cameras.capture
    if folder is None:
        return {}, ["no photos: they were made in memory"]
    names = [view.name for view in cameras.views]
    try:
        loaded = load_capture(
            folder, format=cameras.format if capture is None else None, names=names, progress=progress
        )
    except MesofaceError as error:
        if capture is not None:
            raise
        return {}, [f"cameras without photos: {error}; --capture names the folder where they are now"]
    photos, notes = {}, []
    for view, camera in zip(loaded.views, (view.camera for view in cameras.views), strict=True):
        if view.image.shape[:2] != (camera.height, camera.width):
            notes.append(f"the photo of view {view.name} is no longer the one that was used: it is not shown")
            continue
        scale = min(1.0, _LARGEST_PHOTO / max(camera.width, camera.height))
        small = cv2.resize(view.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photos[view.name] = np.round(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return photos, notes


def _read_confidence(run: Path) -> NDArray[np.float32]:
    """(H, H) in [0, 1]."""
    path = required_file(run, "confidence.png")
    pixels, _ = decode_photo(path)
    if pixels.shape[0] != pixels.shape[1]:
        raise MesofaceError("a square map was expected", path=path, remedy="run `mesoface reconstruct` again")
    return pixels[..., 0].astype(np.float32) / np.iinfo(pixels.dtype).max


def _on_vertices(values: NDArray[np.float32] | None, mesh: Mesh) -> NDArray[np.float32] | None:
    """A UV map at the mesh's vertices."""
    return None if values is None or mesh.uv is None else sample_map(values, mesh.uv)


def _distances(mesh: Mesh, truth: GroundTruth) -> NDArray[np.float64]:
    """(N,) distances of the vertices to the truth, NaN where they do not count."""
    deviation = truth.deviation(mesh.vertices)
    return np.where(deviation.counted, np.abs(deviation.signed), np.nan)


def _measured_errors(run: Path, mesh: Mesh) -> NDArray[np.float64] | None:
    """What the run itself measured at the vertices of ``fine.ply``, where the truth was known to it."""
    path = run / "error.exr"
    if not path.is_file() or mesh.uv is None:
        return None
    errors = read_exr(path)
    if errors.ndim != 2 or errors.shape[0] != errors.shape[1]:
        raise MesofaceError("a square map was expected", path=path, remedy="run `mesoface reconstruct` again")
    size = len(errors)
    place = np.rint(np.column_stack([1 - mesh.uv[:, 1], mesh.uv[:, 0]]) * size - 0.5).astype(np.int64)
    row, column = np.clip(place, 0, size - 1).T
    return errors[row, column].astype(np.float64)
