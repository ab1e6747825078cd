"""``save_face``: a result folder with everything in it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from mesoface.errors import MesofaceError
from mesoface.evaluation import Evaluation, FilledStats, evaluate, evaluate_filled, filled_line
from mesoface.evaluation.display import vertex_errors
from mesoface.export import ExportSource
from mesoface.export.glb import export_glb
from mesoface.files.atomic import atomic_folder, check_output_folder
from mesoface.geometry.mesh import Mesh
from mesoface.report.reconstruct_page import write_report
from mesoface.results.face import Face
from mesoface.results.files import REPORT
from mesoface.results.write import write_record, write_result
from mesoface.running.process import StageClock
from mesoface.running.progress import ProgressCallback, silent


def check_target(out: Path, capture: Path, overwrite: bool) -> None:
    """Refuse a bad ``--out`` before any work is done: see :func:`.atomic.check_output_folder`."""
    check_output_folder(
        out,
        record="run.json",
        overwrite=overwrite,
        other="--overwrite replaces results only, and this folder has no run.json",
        source=capture,
        inside="the result would be written into the capture (or over it)",
    )


# Files are written beside each other: most of it is compression and drawing outside of Python.
_WRITERS = 2


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
            When the two cannot be compared, a warning takes the error's place and the result is kept.
        overwrite: whether an older result may be replaced.
        report: whether to draw report.html: it takes longer than all other files.
        progress: called as files are written.

    Returns:
        a summary in a few lines, with the error where the truth is known.

    Raises:
        MesofaceError: the folder cannot be written.
    """
    out = Path(out)
    progress("Writing", 0, 4)
    clock = StageClock(list(face.stages))
    evaluation, detailed, filled, errors, failure = None, None, None, None, None
    if truth is not None:
        try:
            with clock.stage("evaluation"):
                evaluation = evaluate(face.surface, truth, region=face.region)
                errors = vertex_errors(face.surface, evaluation)
                filled = evaluate_filled(face.surface, evaluation)
                if face.detailed is not None:
                    detailed = evaluate(face.detailed, evaluation.truth)
        except MesofaceError as error:
            failure = f"error to the true surface: not measured, {error}"
            face = replace(face, warnings=(*face.warnings, failure))
    progress("Writing", 1, 4)
    with atomic_folder(out, overwrite=overwrite) as folder:
        with clock.stage("files and report"), ThreadPoolExecutor(_WRITERS) as pool:
            # What takes longest begins first.
            jobs: list[Future[Any]] = []
            if report:
                jobs.append(pool.submit(write_report, folder / REPORT, face, evaluation, errors, filled))
            jobs.append(pool.submit(export_glb, ExportSource(face), folder))
            jobs.append(pool.submit(write_result, folder, face, errors))
            for done, job in enumerate(as_completed(jobs), 4 - len(jobs)):
                job.result()
                progress("Writing", done, 4)
        write_record(folder, replace(face, stages=tuple(clock.stages)), evaluation, detailed, filled)
    progress("Writing", 4, 4)
    lines = _summary(face, evaluation, filled)
    if failure:
        lines.append(failure)
    if report:
        lines.append(f"report: {out / REPORT}")
    if filled is not None:
        lines.append(filled_line(filled))
    return lines


def _summary(face: Face, evaluation: Evaluation | None, filled: FilledStats | None) -> list[str]:
    lines = [f"views: {', '.join(face.capture.names)}", f"scale: {face.scale}"]
    if face.fine is not None:
        lines.append(
            f"fine mesh: {len(face.fine.mesh.vertices):,} vertices, "
            f"{100 * (1 - face.fine.left_out):.1f} % of the facial region measured"
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
