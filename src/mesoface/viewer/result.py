"""What the viewer shows of a result folder: its surfaces, their shadings, its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.evaluation import GroundTruth
from mesoface.evaluation.display import round_limit
from mesoface.export.glb import GlbBuilder, to_power_of_two
from mesoface.files.images import as_uint8, decode_srgb, jpeg
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.rendering.clay import CLAY
from mesoface.rendering.false_color import colorize, legend_bar
from mesoface.results.face import SavedFace, load_face, texels_of
from mesoface.results.files import RunCameras, load_photos
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import sample_map

RGB = NDArray[np.uint8]

_LARGEST_PHOTO = 1280
ShadingName = Literal["clay", "normals", "texture", "confidence", "uncertainty", "error"]
UNIT = 0.001
"""A millimetre in the viewer's unit, the metre, whose near and far planes suit a face and its cameras."""
_LARGEST_TEXTURE = 4096


@dataclass(frozen=True, eq=False)
class ViewedSurface:
    """A surface and the numbers on it.

    Args:
        mesh: one UV a vertex, normals, mm.
        confidence: (N,) in [0, 1], or None.
        errors: (N,) distance to the true surface, mm, NaN where it does not count; or None.
        uncertainty: (N,) one standard deviation, mm, NaN where it was not measured; or None.
    """

    mesh: Mesh
    confidence: NDArray[np.float32] | None
    errors: NDArray[np.float64] | None
    uncertainty: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class ViewedResult:
    """A result, ready to be shown.

    Args:
        face: the result.
        surfaces: by name, the most finished first.
        photos: undistorted photos, uint8, by view; views without a photo are absent.
        notes: what is missing and why, one sentence each.
    """

    face: SavedFace
    surfaces: dict[str, ViewedSurface]
    photos: dict[str, RGB]
    notes: tuple[str, ...]

    @cached_property
    def texture(self) -> RGB | None:
        """(T, T, 3) uint8 sRGB in the base's UVs, or None."""
        return None if self.face.texture is None else as_uint8(self.face.texture.color)


def read_result(
    run: str | Path,
    *,
    capture: Path | None = None,
    truth: Path | None = None,
    progress: ProgressCallback = silent,
) -> ViewedResult:
    """A result folder, and the photos where they still are, for the viewer.

    Args:
        run: the folder that ``mesoface reconstruct`` wrote.
        capture: where the photos are now; None: where ``cameras.json`` says. Photos that are not there are a
            note, unless the folder was given here.
        truth: the true surface, mm, to measure every surface against; None: the errors that the run measured.
        progress: called as files are read.

    Raises:
        MesofaceError: ``run`` is no result, is incomplete or of another version, or ``capture`` or ``truth``
            cannot be used.
    """
    face = load_face(run)
    measured = face.fine
    truth_surface = None if truth is None else GroundTruth(read_mesh(truth), face.region)
    fine = None if measured is None else measured.mesh
    named = {"detailed": face.detailed, "fine": fine, "base": face.base}
    meshes = {name: mesh for name, mesh in named.items() if mesh is not None}
    surfaces = {}
    for done, (name, mesh) in enumerate(meshes.items()):
        progress("Surfaces", done, len(meshes))
        mesh = replace(mesh, normals=mesh.vertex_normals()).with_one_index()
        confidence = errors = None
        if measured is not None and mesh.uv is not None:
            confidence = sample_map(measured.confidence, mesh.uv)
        if truth_surface is not None:
            deviation = truth_surface.deviation(mesh.vertices)
            counted = deviation.counted if mesh.measured is None else deviation.counted & mesh.measured
            errors = np.where(counted, np.abs(deviation.signed), np.nan)
        elif name == "fine" and face.errors is not None:  # those that the run measured
            errors = face.errors[texels_of(mesh, len(face.errors))].astype(np.float64)
        sigma = None if mesh.uncertainty is None else np.where(mesh.uncertainty > 0, mesh.uncertainty, np.nan)
        surfaces[name] = ViewedSurface(mesh, confidence, errors, sigma)
    progress("Surfaces", len(meshes), len(meshes))
    notes = [] if face.texture is not None else ["no texture: the run did not make one"]
    if all(surface.errors is None for surface in surfaces.values()):
        notes.append("no errors: the true surface is not known (--truth)")
    photos, missing = _photos(face.cameras, capture, progress)
    return ViewedResult(face, surfaces, photos, (*notes, *missing))


def _photos(
    cameras: RunCameras, capture: Path | None, progress: ProgressCallback
) -> tuple[dict[str, RGB], Sequence[str]]:
    """The undistorted photos by view, and notes about those that are missing."""
    if capture is None and cameras.capture is None:
        return {}, ["no photos: they were made in memory"]
    try:
        views = load_photos(cameras, capture, progress)
    except MesofaceError as error:
        if capture is not None:
            raise
        return {}, [f"cameras without photos: {error}; --capture names the folder where they are now"]
    photos, notes = {}, []
    for view, name in zip(views, cameras.views, strict=True):
        if view is None:
            notes.append(f"the photo of view {name} is no longer the one that was used: it is not shown")
            continue
        scale = min(1.0, _LARGEST_PHOTO / max(view.camera.width, view.camera.height))
        small = cv2.resize(view.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photos[name] = as_uint8(small)
    return photos, notes


def shadings(result: ViewedResult, surface: ViewedSurface) -> list[ShadingName]:
    """The shadings that ``surface`` has."""
    names: list[ShadingName] = ["clay", "normals"]
    if result.texture is not None and surface.mesh.uv is not None:
        names.append("texture")
    if surface.confidence is not None:
        names.append("confidence")
    if surface.uncertainty is not None:
        names.append("uncertainty")
    if surface.errors is not None:
        names.append("error")
    return names


def shaded_glb(result: ViewedResult, surface: ViewedSurface, shading: ShadingName) -> bytes:
    """``surface`` as a binary glTF file, in metres in the capture's world axes.

    Normals and texture are unlit; clay and false colours are lit.
    """
    mesh, glb = surface.mesh, GlbBuilder()
    attributes = {
        "POSITION": glb.add_attribute(mesh.vertices * UNIT, bounds=True),
        "NORMAL": glb.add_attribute(mesh.vertex_normals()),
    }
    surface_color: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.75}
    material: dict[str, Any] = {"pbrMetallicRoughness": surface_color, "doubleSided": True}
    if shading in ("normals", "texture"):
        material["extensions"] = {"KHR_materials_unlit": {}}
        glb.document["extensionsUsed"] = ["KHR_materials_unlit"]
    if shading == "texture":
        assert result.texture is not None
        assert mesh.uv is not None
        attributes["TEXCOORD_0"] = glb.add_uv(mesh.uv)
        image = glb.add_texture(
            jpeg(to_power_of_two(result.texture, _LARGEST_TEXTURE)), "image/jpeg", "texture"
        )
        surface_color["baseColorTexture"] = {"index": image}
    elif shading == "clay":
        surface_color["baseColorFactor"] = [*(decode_srgb(np.array(CLAY))).tolist(), 1.0]
    else:
        attributes["COLOR_0"] = glb.add_attribute(decode_srgb(_colors(result, surface, shading)))
    glb.show("face", attributes, glb.add_indices(mesh.faces), material)
    return glb.encode()


def legend(surface: ViewedSurface, shading: ShadingName) -> RGB | None:
    """The colour bar of a false colour, None of the others."""
    if shading == "confidence":
        return legend_bar((0.0, 1.0), "1: the photos agree", "viridis")
    if shading == "uncertainty" and surface.uncertainty is not None:
        return legend_bar((0.0, round_limit(surface.uncertainty)), "one standard deviation, mm")
    if shading == "error" and surface.errors is not None:
        return legend_bar((0.0, round_limit(surface.errors)), "distance to the truth, mm")
    return None


def _colors(result: ViewedResult, surface: ViewedSurface, shading: ShadingName) -> NDArray[np.float64]:
    """(N, 3) sRGB in [0, 1] at the vertices."""
    if shading == "normals":
        return surface.mesh.vertex_normals() @ result.face.fit.rotation * 0.5 + 0.5
    if shading == "confidence":
        assert surface.confidence is not None
        return colorize(surface.confidence, (0, 1), "viridis")
    if shading == "uncertainty":
        assert surface.uncertainty is not None
        return colorize(surface.uncertainty, (0, round_limit(surface.uncertainty)))
    assert surface.errors is not None
    return colorize(surface.errors, (0, round_limit(surface.errors)))
