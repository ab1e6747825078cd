"""``report.html``: a reconstructed face as a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mesoface
from mesoface.evaluation import Evaluation
from mesoface.evaluation.heatmap import heatmap_picture
from mesoface.evaluation.table import COLUMNS, rows, summary
from mesoface.face import Face
from mesoface.report.pictures import map_picture, photo_with_landmarks, shaded_views, symmetric_limits
from mesoface.report.reconstruct_page import EvaluationTable, ReportData, StageRow, reconstruct_page
from mesoface.uvd.visibility import SEEN

_FILES = {
    "base": (("base.obj", "base mesh in the face model's topology, mm"),),
    "fine": (
        ("base.obj", "base mesh in the face model's topology; follows the measured surface, mm"),
        ("fine.ply", "the measured surface, with UVs and normals, mm"),
        ("displacement.exr", "signed distance from the base along its smoothed normals, 32-bit mm"),
        ("confidence.png", "how well the photos agree, 0 to 255"),
    ),
}
_ALWAYS = (("region.ply", "the facial region, for comparisons"), ("run.json", "settings, versions, figures"))


def write_report(path: Path, face: Face, evaluation: Evaluation | None = None) -> None:
    """Write the self-contained page.

    Args:
        path: of the HTML file.
        face: the result.
        evaluation: its comparison with the true surface, where that is known.
    """
    path.write_text(reconstruct_page(report_data(face, evaluation)), encoding="utf-8")


def report_data(face: Face, evaluation: Evaluation | None = None) -> ReportData:
    """What the page shows of ``face``: pictures drawn, numbers put into words."""
    forward, up = face.fit.rotation[:, 2], face.fit.rotation[:, 1]
    frame = face.base.select_faces(face.fit.model.topology.facial)
    fine = face.fine
    photos = [
        (view.name, photo_with_landmarks(view, points, weights))
        for view, points, weights in zip(
            face.capture.views, face.landmarks2d.points, face.landmarks3d.weights, strict=True
        )
    ]
    capture = face.capture
    settings = face.settings.model_dump().items()
    return ReportData(
        title=capture.path.name if capture.path is not None else "capture",
        subtitle=f"{len(capture)} photos, {capture.format} layout, face model {face.fit.model.name}",
        facts=_facts(face, evaluation),
        warnings=face.warnings,
        photos=photos,
        base_views=shaded_views(face.base, forward, up, frame=frame),
        fine_views=[] if fine is None else shaded_views(fine.mesh, forward, up, frame=frame),
        maps=_maps(face),
        stages=[StageRow(stage.name, stage.seconds, stage.peak_mb) for stage in face.stages],
        scale=f"Millimetres in the capture's own world frame: {face.scale}.",
        settings=[(name, str(value)) for name, value in settings if value is not None],
        evaluation=None if evaluation is None else _evaluation(face, evaluation),
        files=(*_FILES["base" if fine is None else "fine"], *_ALWAYS),
        versions=f"mesoface {mesoface.__version__}",
    )


def _facts(face: Face, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    facts = [(f"{sum(stage.seconds for stage in face.stages):.1f} s", "from photos to the surface")]
    if face.fine is not None:
        facts += [
            (f"{100 * (1 - face.fine.left_out):.1f} %", "of the facial region measured"),
            (f"{face.fine.space.texel_mm:.2f} mm", "between measured points"),
        ]
    if evaluation is not None:
        facts += [
            (f"{evaluation.accuracy.mean:.3f} mm", "mean distance to the true surface"),
            (f"{evaluation.accuracy.normal_angle:.1f}°", "mean normal error"),
        ]
    return facts


def _maps(face: Face) -> list[tuple[str, np.ndarray]]:
    fine = face.fine
    if fine is None:
        return []
    limits = symmetric_limits(fine.displacement, fine.kept)
    displacement = map_picture(fine.displacement, fine.kept, "displacement, mm", limits=limits)
    confidence = map_picture(fine.confidence, fine.kept, "confidence", limits=(0, 1), colormap="viridis")
    seen = (fine.visibility > SEEN).sum(0).astype(np.float32)
    views = map_picture(
        seen, fine.space.valid, "views that see it", limits=(0, max(2, len(face.capture))), colormap="viridis"
    )
    return [
        ("Displacement from the base mesh along its smoothed normals", displacement),
        ("Confidence: how well the photos agree", confidence),
        ("How many photos see each place", views),
    ]


def _evaluation(face: Face, evaluation: Evaluation) -> EvaluationTable:
    mesh = face.base if face.fine is None else face.fine.mesh
    forward, up = face.fit.rotation[:, 2], face.fit.rotation[:, 1]
    picture = heatmap_picture(mesh, evaluation, forward=forward, up=up)
    picture = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return EvaluationTable(COLUMNS, rows(evaluation), summary(evaluation), picture)
