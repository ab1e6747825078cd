"""``report.html``: a reconstructed face as a page, with the command that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.config import COMPUTING, Settings
from mesoface.evaluation import Evaluation, FilledStats, filled_line
from mesoface.evaluation.display import COLUMNS, heatmap_picture, round_limit, rows, summary
from mesoface.files.images import as_uint8
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import detailed_relief, exaggerated_relief, reduce_surface
from mesoface.rendering.page import render
from mesoface.report.pictures import (
    LARGEST,
    RGB,
    face_views,
    map_picture,
    photo_errors,
    symmetric_limits,
    texture_picture,
    with_landmarks,
)
from mesoface.results.face import Face
from mesoface.results.scene import GRID, face_view
from mesoface.running.process import Stage
from mesoface.uvd.space import ViewCheck
from mesoface.uvd.visibility import SEEN

Figures = Sequence[tuple[str, RGB]]
TEMPLATE = Path(__file__).parent / "templates" / "reconstruct.html"

# (name, what it holds, what the result must have for it to be there)
_FILES = (
    ("face.glb", "the face for viewers and engines, metres", None),
    ("base.obj", "base mesh in the face model's topology; follows what was measured, mm", None),
    ("fine.ply", "the surface, with UVs, normals and a flag of what was measured, mm", "fine"),
    ("detailed.ply", "the same with predicted relief on it, mm", "relief"),
    ("displacement.exr", "signed distance from the base along its smoothed normals, 32-bit mm", "fine"),
    ("meso.exr", "predicted relief along the normals of fine.ply, 32-bit mm", "relief"),
    ("confidence.png", "how well the photos agree, 0 to 255", "fine"),
    ("uncertainty.exr", "one standard deviation along the normal, 32-bit mm", "uncertainty"),
    ("measured.png", "255 where the surface was measured, 0 where it was filled in", "fine"),
    ("texture.png", "colour, in the base mesh's UVs", "texture"),
    ("texture_seen.png", "255 where photos show it, 0 where it was filled in", "texture"),
    ("error.exr", "distance to the true surface, 32-bit mm", "error"),
    ("region.ply", "the facial region, for comparisons", None),
    ("base_fit.npz", "the face's axes and the face model's coefficients", None),
    ("landmarks.npz", "landmarks in the photos, pixels, and in space, mm", None),
    ("space.npz", "the base surface in UV space, and which views see it", "fine"),
    ("cameras.json", "where the photos were taken from, mm", None),
    ("run.json", "settings, versions, figures", None),
)
_EXAGGERATION = 3
_UNCORRECTED = 0.005  # share of the estimates below which cameras count as left as they were


def write_report(
    path: Path,
    face: Face,
    evaluation: Evaluation | None = None,
    errors: NDArray[np.float64] | None = None,
    filled: FilledStats | None = None,
) -> None:
    """Write the self-contained page.

    Args:
        path: of the HTML file.
        face: the result.
        evaluation: its comparison with the true surface, where that is known.
        errors: (N,) distances of the surface's vertices to it, from
            :func:`mesoface.evaluation.display.vertex_errors`.
        filled: the same comparison of what was filled in.
    """
    reduced = None if face.fine is None else reduce_surface(face.fine, GRID)
    caster = RayCaster(face.base if reduced is None else reduced.mesh)
    views = face_views(face, caster, None if reduced is None else reduced.relief)
    compared, note = _photo_errors(face, caster)
    capture = face.capture
    name = capture.path.name if capture.path is not None else "capture"
    weighted = zip(capture.views, face.landmarks2d.points, face.landmarks3d.weights, strict=True)
    settings = face.settings.model_dump().items()
    text = render(
        TEMPLATE,
        title=f"{name} · mesoface",
        name=name,
        subtitle=f"{len(capture)} photos, {capture.format} layout, face model {face.fit.model.name}",
        facts=_facts(face, evaluation),
        warnings=face.warnings,
        photos=[
            (view.name, with_landmarks(view.image, points, weights)) for view, points, weights in weighted
        ],
        **view_table(face.checks),
        scene=face_view(face, reduced, errors),
        views=views,
        relief=_relief(face, caster, views),
        photo_errors=compared,
        photo_note=note,
        maps=_maps(face),
        **stage_table(face.stages),
        scale=f"Millimetres in the capture's own world frame: {face.scale}.",
        settings=[(name, str(value)) for name, value in settings if value is not None],
        command="" if capture.path is None else command_line(capture.path, face.settings),
        evaluation=None if evaluation is None else _evaluation(face, evaluation, errors, filled),
        files=_files(face, errors),
        footer=f"mesoface {mesoface.__version__}",
    )
    path.write_text(text, encoding="utf-8")


def stage_table(stages: Sequence[Stage]) -> dict[str, Any]:
    """``stages``: (cells, seconds) of each; ``total``: the cells of the last row."""
    rows = [((s.name, f"{s.seconds:.1f}", f"{s.peak_mb / 1024:.2f}"), s.seconds) for s in stages]
    peak = max((stage.peak_mb for stage in stages), default=0.0)
    total = ("total", f"{sum(stage.seconds for stage in stages):.1f}", f"{peak / 1024:.2f}")
    return {"stages": rows, "total": total}


def view_table(checks: Sequence[ViewCheck]) -> dict[str, Any]:
    """``view_rows``: name, estimated and applied correction of the camera, and movement, of each used view;
    ``view_note``: what was made of the estimates.
    """
    rows = [
        (
            check.name,
            f"{check.estimated_px:.2f}",
            f"{check.corrected_px:.2f}",
            f"{check.corrected_deg:.3f}",
            f"{100 * check.moved:.0f} %" if check.moved else "–",
            f"{check.moved_mm:.1f}" if check.moved_mm else "–",
        )
        for check in checks
    ]
    estimated, corrected = (
        float(np.sqrt(sum(getattr(check, name) ** 2 for check in checks) / max(len(checks), 1)))
        for name in ("estimated_px", "corrected_px")
    )
    share = corrected / estimated if estimated > 0 else 0.0
    note = (
        ""
        if not checks
        else (
            "Estimates of exact cameras are as large: no camera was corrected."
            if share < _UNCORRECTED
            else f"{100 * share:.0f} % of each estimate was applied; the rest is the error of estimates."
        )
    )
    return {"view_rows": rows, "view_note": note}


def _files(face: Face, errors: NDArray[np.float64] | None) -> list[tuple[str, str]]:
    """The files beside the report, and what they hold."""
    made = {None, *(name for name in ("fine", "texture", "relief") if getattr(face, name) is not None)}
    if face.fine is not None and errors is not None:
        made.add("error")
    if face.fine is not None and face.fine.uncertainty is not None:
        made.add("uncertainty")
    return [(name, what) for name, what, needs in _FILES if needs in made]


def _facts(face: Face, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    facts = [(f"{sum(stage.seconds for stage in face.stages):.1f} s", "from photos to the surface")]
    if face.fine is not None:
        facts += [
            (f"{100 * (1 - face.fine.left_out):.1f} %", "of the facial region measured"),
            (f"{face.fine.space.texel_mm:.2f} mm", "between measured points"),
        ]
        if face.fine.uncertainty is not None and face.fine.measured.any():
            sigma = float(np.median(face.fine.uncertainty[face.fine.measured]))
            facts += [(f"± {sigma:.3f} mm", "median uncertainty, one standard deviation")]
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
    uncertainty: Figures = []
    if fine.uncertainty is not None and fine.measured.any():
        limits = (0.0, round_limit(fine.uncertainty[fine.measured]))
        picture = map_picture(fine.uncertainty, fine.measured, "standard deviation, mm", limits=limits)
        uncertainty = [("Uncertainty: one standard deviation of the measured surface", picture)]
    seen = (fine.visibility > SEEN).sum(0).astype(np.float32)
    views = map_picture(
        seen, fine.space.valid, "views that see it", limits=(0, max(2, len(face.capture))), colormap="viridis"
    )
    texture = [] if face.texture is None else [("Texture", texture_picture(face.texture))]
    predicted = []
    if (relief := face.relief) is not None:
        limits = symmetric_limits(relief.height, relief.valid)
        picture = map_picture(relief.height, relief.valid, "predicted relief, mm", limits=limits)
        predicted = [(f"Predicted relief ({relief.source}), on top of what was measured", picture)]
    return [
        *texture,
        ("Displacement from the base mesh along its smoothed normals", displacement),
        *predicted,
        *uncertainty,
        ("Confidence: how well the photos agree", confidence),
        ("How many photos see each place", views),
    ]


def _relief(face: Face, caster: RayCaster, views: Figures) -> Figures:
    """From one side: base mesh, measured surface (one of ``views``), prediction on it, relief exaggerated."""
    if face.fine is None:
        return []
    side, measured = views[1]
    [(_, base)] = face_views(face, face.base, angles=[side])
    predicted: Figures = []
    if face.relief is not None:
        [(_, detailed)] = face_views(face, caster, detailed_relief(face.fine, face.relief.height), [side])
        predicted = [("With predicted relief on it", detailed)]
    [(_, high)] = face_views(face, caster, exaggerated_relief(face.fine, _EXAGGERATION), [side])
    return [
        ("The base mesh", base),
        ("The measured surface", measured),
        *predicted,
        (f"The measured relief, {_EXAGGERATION} times as high", high),
    ]


def _photo_errors(face: Face, caster: RayCaster) -> tuple[Figures, str]:
    """Photo, rendering and difference of every view, and a note that explains them."""
    if face.fine is None:
        return [], "Nothing was measured, so there are no colours to compare with the photos."
    if face.texture is None:
        return [], "No texture was made (--texture-size), so there are no colours to compare with the photos."
    note = (
        "Photo, textured face in its place, and their difference (black: none; yellow: "
        f"{100 * LARGEST:.0f} % of the range or more). One gain per colour channel was applied to the face. "
        "Every photo contributed to the texture: this shows where the photos disagree, not how well a "
        "held-out view would be predicted."
    )
    compared = photo_errors(face.capture.views, caster, face.texture)
    return [(f"{error.view}: {_decibels(error.psnr)}", error.picture) for error in compared], note


def _decibels(psnr: float) -> str:
    return f"PSNR {psnr:.1f} dB" if np.isfinite(psnr) else "the face is not visible"


def _evaluation(
    face: Face,
    evaluation: Evaluation,
    errors: NDArray[np.float64] | None,
    filled: FilledStats | None,
) -> dict[str, Any]:
    """The comparison with the true surface, as text and as a picture."""
    forward, up = face.fit.rotation[:, 2], face.fit.rotation[:, 1]
    picture = heatmap_picture(face.surface, evaluation, errors=errors, forward=forward, up=up)
    return {
        "columns": COLUMNS,
        "rows": rows(evaluation),
        "summary": summary(evaluation) + ("" if filled is None else f" · {filled_line(filled)}"),
        "heatmap": as_uint8(picture),
    }


def command_line(capture: Path, settings: Settings) -> str:
    """``mesoface reconstruct`` with every setting that is not the default, ready for a shell.

    Args:
        capture: the capture's folder.
        settings: of the result.
    """
    words = ["mesoface", "reconstruct", str(capture), "--out", "face"]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in COMPUTING or value == Settings.model_fields[name].default:
            continue
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)
