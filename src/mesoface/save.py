"""Writing a result, and finding things in it again."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

import mesoface
from mesoface.errors import MesofaceError
from mesoface.evaluation import Evaluation, evaluate
from mesoface.evaluation.heatmap import vertex_errors
from mesoface.export import ExportOptions, face_source
from mesoface.export.glb import export_glb
from mesoface.files.atomic import atomic_folder
from mesoface.files.maps import write_exr, write_png
from mesoface.files.meshes import read_mesh, write_obj, write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.report.face_report import write_report
from mesoface.results.cameras import write_cameras
from mesoface.results.face import Face
from mesoface.results.folder import FORMAT, REPORT, base_fit, write_base_fit
from mesoface.running.memory import peak_memory_mb
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.stages import StageClock
from mesoface.surface.fine import vertex_map
from mesoface.uvd.rasterize import grid_faces
from mesoface.uvd.space import FineSurface

_REGION_SIZE = 192
_PACKAGES = ("numpy", "opencv-contrib-python", "torch", "mediapipe", "embreex", "scipy")


def check_target(out: Path, capture: Path, overwrite: bool) -> None:
    """Refuse a bad ``--out`` before any work is done.

    Raises:
        MesofaceError: ``out`` is inside of the capture (or is it), exists already, is a file, or cannot be
            made.
    """
    inner, outer = out.resolve(), capture.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise MesofaceError(
            "the result would be written into the capture (or over it)",
            path=out,
            remedy="name a folder outside of the capture",
        )
    if out.exists() and not out.is_dir():
        raise MesofaceError("is a file", path=out, remedy="name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise MesofaceError("exists already", path=out, remedy="name another folder, or pass --overwrite")
        if not (out / "run.json").is_file():
            raise MesofaceError(
                "--overwrite replaces results only, and this folder has no run.json",
                path=out,
                remedy="name another folder",
            )
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        what = "may not be written into" if above.is_dir() else "is a file"
        raise MesofaceError(
            f"the result cannot be put there: {above} {what}", path=out, remedy="name another place"
        )


def save_face(
    face: Face,
    out: str | Path,
    *,
    truth: Mesh | None = None,
    overwrite: bool = False,
    report: bool = True,
    progress: ProgressCallback = silent,
) -> list[str]:
    """Write the result's meshes and maps, base_fit.npz, cameras.json, run.json and report.html.

    The folder appears when all of it is written, or not at all.

    Args:
        face: the result.
        out: folder to make.
        truth: the true surface, mm, where it is known; the result's error goes into the report and run.json.
            Where the two cannot be compared, that is said in its place: the result is kept.
        overwrite: whether an older result may be replaced.
        report: whether to draw report.html: it takes longer than all other files.
        progress: called as files are done.

    Returns:
        a few lines for people: what was made of what, and the error where the truth is known.

    Raises:
        MesofaceError: the folder cannot be written.
    """
    out = Path(out)
    progress("Writing", 0, 4)
    clock = StageClock(list(face.stages))
    evaluation, detailed, errors, failure = None, None, None, None
    region = region_mesh(face)
    surface = face.base if face.fine is None else face.fine.mesh
    if truth is not None:
        try:
            with clock.stage("evaluation"):
                evaluation = evaluate(surface, truth, region=region)
                errors = vertex_errors(surface, evaluation)
                if face.detailed is not None:
                    detailed = evaluate(face.detailed, evaluation.truth)
        except MesofaceError as error:
            failure = f"error to the true surface: not measured, {error}"
            face = replace(face, warnings=(*face.warnings, failure))
    progress("Writing", 1, 4)
    with atomic_folder(out, overwrite=overwrite) as folder:
        with clock.stage("files and report"):
            write_obj(folder / "base.obj", face.base)
            write_base_fit(folder / "base_fit.npz", base_fit(face.fit))
            write_cameras(folder / "cameras.json", face.capture)
            write_ply(folder / "region.ply", region)
            if face.fine is not None:
                _write_fine(folder, face.fine)
            if face.fine is not None and errors is not None:
                distance = vertex_map(face.fine.mesh, errors, len(face.fine.kept))
                write_exr(folder / "error.exr", distance, comment="mm to the true surface, NaN where unknown")
            if face.relief is not None and face.detailed is not None:
                write_ply(folder / "detailed.ply", face.detailed)
                millimetres = np.where(face.relief.valid, face.relief.height, np.nan)
                write_exr(
                    folder / "meso.exr", millimetres, comment="predicted; mm along the normals of fine.ply"
                )
            if face.texture is not None:
                write_png(folder / "texture.png", face.texture.color)
                write_png(folder / "texture_seen.png", face.texture.seen.astype(np.float32))
            progress("Writing", 2, 4)
            if report:
                write_report(folder / REPORT, face, evaluation, errors)
        progress("Writing", 3, 4)
        with clock.stage("face.glb"):
            export_glb(face_source(face).upright(), ExportOptions(), folder)
        record = run_record(replace(face, stages=tuple(clock.stages)), evaluation, detailed)
        (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    progress("Writing", 4, 4)
    lines = _summary(face, evaluation)
    if failure:
        lines.append(failure)
    if report:
        lines.append(f"report: {out / REPORT}")
    return lines


def region_mesh(face: Face) -> Mesh:
    """The facial mask in space, left-out texels included: where a comparison with a true surface is made.

    It is the mask on the measured surface, or on the fitted model where nothing was measured.
    """
    if face.fine is None:
        return face.base.select_faces(face.fit.model.topology.facial)
    space = face.fine.space
    coarse = space.resized(min(_REGION_SIZE, space.size))
    mesh = Mesh(coarse.position.reshape(-1, 3).astype(np.float64), grid_faces(coarse.valid))
    return mesh.select_faces(np.ones(len(mesh.faces), bool))


def surface_file(run: Path) -> Path:
    """The mesh of the result in ``run``: ``fine.ply``, or ``base.obj`` of a run that stopped there.

    Raises:
        MesofaceError: ``run`` is not a result.
    """
    _check_result(run)
    fine = run / "fine.ply"
    return fine if fine.is_file() else run / "base.obj"


def facial_region(run: Path) -> Mesh:
    """The facial region of the result in ``run``: :func:`region_mesh` of its face.

    Raises:
        MesofaceError: ``run`` is not a result.
    """
    _check_result(run)
    return read_mesh(run / "region.ply")


def _check_result(run: Path) -> None:
    if not (run / "run.json").is_file():
        raise MesofaceError(
            "is not the result of `mesoface reconstruct` (no run.json)",
            path=run,
            remedy="name a mesh or a result folder",
        )


def _write_fine(folder: Path, fine: FineSurface) -> None:
    write_ply(folder / "fine.ply", fine.mesh)
    exr = folder / "displacement.exr"
    millimetres = np.where(fine.kept, fine.displacement, np.nan)
    write_exr(exr, millimetres, comment="millimetres along the smoothed normals of base.obj")
    write_png(folder / "confidence.png", fine.confidence)


def run_record(
    face: Face, evaluation: Evaluation | None = None, detailed: Evaluation | None = None
) -> dict[str, object]:
    """What ``run.json`` holds: versions, settings, views, scale, stages, figures, warnings.

    Args:
        face: the result.
        evaluation: of the measured surface, where the truth is known.
        detailed: of the same with predicted relief.
    """
    fine = face.fine
    record: dict[str, object] = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "capture": {
            "path": str(face.capture.path),
            "format": face.capture.format,
            "views": list(face.capture.names),
        },
        "settings": face.settings.model_dump(mode="json"),
        "unit": "mm",
        "mm_per_unit": face.scale.mm_per_unit,
        "scale": {
            "source": face.scale.source,
            "relative_uncertainty": face.scale.relative_uncertainty,
        },
        "face_model": face.fit.model.name,
        "landmark_error_px": float(np.nanmedian(face.fit.residuals)),
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 3), "peak_mb": round(stage.peak_mb, 1)}
            for stage in face.stages
        ],
        "seconds": round(sum(stage.seconds for stage in face.stages), 3),
        "peak_mb": round(peak_memory_mb(), 1),
        "warnings": list(face.warnings),
    }
    if fine is not None:
        record["surface"] = {
            "uv_size": int(fine.kept.shape[0]),
            "texel_mm": round(fine.space.texel_mm, 4),
            "vertices": len(fine.mesh.vertices),
            "left_out": round(fine.left_out, 5),
            "filled": round(float(fine.filled.sum() / max(fine.kept.sum(), 1)), 5),
        }
    if face.texture is not None:
        record["texture"] = {
            "size": face.texture.size,
            "seen": round(float(face.texture.seen.mean()), 5),
        }
    if face.relief is not None:
        height = face.relief.height[face.relief.valid]
        record["meso"] = {
            "source": face.relief.source,
            "size": face.relief.size,
            "texel_mm": round(face.relief.texel_mm, 4),
            "rms_mm": round(float(np.sqrt(np.mean(height**2))) if len(height) else 0.0, 5),
        }
    if evaluation is not None:
        record["evaluation"] = evaluation.to_dict()
    if detailed is not None:
        record["evaluation_detailed"] = detailed.to_dict()
    return record


def _summary(face: Face, evaluation: Evaluation | None) -> list[str]:
    lines = [f"views: {', '.join(face.capture.names)}", f"scale: {face.scale}"]
    if face.fine is not None:
        lines.append(
            f"fine mesh: {len(face.fine.mesh.vertices):,} vertices, "
            f"{100 * (1 - face.fine.left_out):.1f} % of the facial region"
        )
    if face.texture is not None:
        lines.append(f"texture: {face.texture.size} × {face.texture.size}, {len(face.capture)} photos")
    if face.relief is not None:
        lines.append(f"predicted relief: {face.relief.size} × {face.relief.size}, {face.relief.source}")
    if evaluation is not None:
        accuracy = evaluation.accuracy
        lines.append(
            f"error to the true surface: mean {accuracy.mean:.3f} mm, median {accuracy.median:.3f} mm, "
            f"{100 * accuracy.within['0.2']:.1f} % within 0.2 mm, normals {accuracy.normal_angle:.1f}°"
        )
    return lines
