"""An evaluation as a coloured mesh, a picture with a legend, a table and a line of text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from rich.table import Table

from mesoface.errors import MesofaceError
from mesoface.evaluation.bands import BandAgreement
from mesoface.evaluation.metrics import COMPLETE_WITHIN, WITHIN, Evaluation
from mesoface.files.maps import write_png
from mesoface.files.meshes import write_ply
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import face_directions, shade, turntable_cameras
from mesoface.rendering.false_color import add_legend, colorize

COLUMNS = ("mm", "mean", "median", "90 %", "bias", *(f"≤ {limit:g}" for limit in WITHIN), "normals", "points")
_NAMES = ("ours", "truth")
_LIMITS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def vertex_errors(prediction: Mesh, evaluation: Evaluation) -> NDArray[np.float64]:
    """(N,) distance of the prediction's vertices to the truth, mm; NaN where it does not count.

    It does not count beyond the truth's rim, outside of the facial region, and where the prediction was
    filled in.
    """
    deviation = evaluation.truth.deviation(evaluation.alignment.apply(prediction.vertices))
    counted = deviation.counted if prediction.measured is None else deviation.counted & prediction.measured
    return np.where(counted, np.abs(deviation.signed), np.nan)


def heatmap(prediction: Mesh, evaluation: Evaluation, *, limit: float | None = None) -> Mesh:
    """``prediction``, in its own frame, coloured by its distance to the truth.

    Args:
        prediction: the mesh that was evaluated.
        evaluation: of it.
        limit: the distance at the colour map's end, mm; by default a round number above 95 % of them.
    """
    errors = vertex_errors(prediction, evaluation)
    colors = np.round(colorize(errors, (0, limit or round_limit(errors))) * 255).astype(np.uint8)
    return replace(prediction, colors=colors)


def heatmap_picture(
    prediction: Mesh,
    evaluation: Evaluation,
    *,
    errors: NDArray[np.float64] | None = None,
    limit: float | None = None,
    label: str = "distance to the true surface",
    forward: ArrayLike | None = None,
    up: ArrayLike | None = None,
    size: tuple[int, int] = (520, 680),
) -> NDArray[np.float32]:
    """The heat map from the front and from both sides, with a legend.

    Args:
        prediction: the mesh that was evaluated.
        evaluation: of it.
        errors: (N,) the result of :func:`vertex_errors`, where it is known already.
        limit: see :func:`heatmap`.
        label: what the colours are, for the legend.
        forward: (3,) direction out of the face; guessed from the mesh when None.
        up: (3,) direction to the forehead; guessed from the mesh when None.
        size: (width, height) of each of the three pictures, pixels.

    Returns:
        (H, W, 3) RGB float32 in [0, 1].
    """
    if errors is None:
        errors = vertex_errors(prediction, evaluation)
    limit = limit or round_limit(errors)
    if forward is None or up is None:
        forward, up = face_directions(prediction)
    cameras = turntable_cameras(prediction, forward=forward, up=up, angles=(-40, 0, 40), size=size)
    mesh = Mesh(prediction.vertices, prediction.faces, normals=prediction.vertex_normals())
    caster = RayCaster(mesh)
    pictures = [shade(caster, camera, scalar=errors, limits=(0, limit)) for camera in cameras]
    stats = evaluation.accuracy
    text = f"{label} [mm]   mean {stats.mean:.3f}   median {stats.median:.3f}"
    return add_legend(np.concatenate(pictures, 1), (0, limit), text)


def write_heatmap(path: str | os.PathLike[str], prediction: Mesh, evaluation: Evaluation) -> None:
    """Write the heat map as ``.ply`` (vertex colours) or ``.png`` (three views and a legend).

    Raises:
        MesofaceError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".ply":
        write_ply(path, heatmap(prediction, evaluation))
    elif path.suffix.lower() == ".png":
        write_png(path, heatmap_picture(prediction, evaluation))
    else:
        remedy = "use one of these suffixes"
        raise MesofaceError("a heat map is a .ply or a .png", path=path, remedy=remedy)


def round_limit(errors: NDArray[np.floating]) -> float:
    """The smallest of a few round numbers of millimetres that 95 % of the ``errors`` do not exceed."""
    known = errors[np.isfinite(errors)]
    high = float(np.percentile(known, 95)) if len(known) else 0.0
    return next((limit for limit in _LIMITS if limit >= high), float(np.ceil(high)))


def rows(evaluation: Evaluation, names: tuple[str, str] = _NAMES) -> list[tuple[str, ...]]:
    """The two directions as cells of ``COLUMNS``; ``names`` of the prediction and of the truth."""
    ours, truth = names
    directions = {f"{ours} → {truth}": evaluation.accuracy, f"{truth} → {ours}": evaluation.completeness}
    return [
        (
            name,
            *(f"{length:.3f}" for length in (stats.mean, stats.median, stats.p90)),
            f"{stats.bias:+.3f}",
            *(f"{100 * share:.1f} %" for share in stats.within.values()),
            f"{stats.normal_angle:.1f}°",
            f"{stats.count:,}".replace(",", " "),
        )
        for name, stats in directions.items()
    ]


def summary(evaluation: Evaluation, names: tuple[str, str] = _NAMES) -> str:
    """One line: chamfer, completeness, alignment; ``names`` of the prediction and of the truth."""
    ours, truth = names
    aligned = {"none": "not aligned", "rigid": "aligned rigidly", "similarity": "aligned by a similarity"}
    parts = [
        f"chamfer {evaluation.chamfer:.3f} mm",
        f"{100 * evaluation.complete:.1f} % of the {truth} within {COMPLETE_WITHIN:g} mm",
        aligned[evaluation.align],
    ]
    if evaluation.align == "similarity":
        parts[-1] += f" (scale {evaluation.alignment.scale:.5g})"
    if evaluation.excluded > 0.005:
        parts.append(f"{100 * evaluation.excluded:.1f} % of {ours} is beyond the {truth}'s rim, not counted")
    return " · ".join(parts)


def print_evaluation(
    evaluation: Evaluation, console: Console | None = None, *, names: tuple[str, str] = _NAMES
) -> None:
    """Print the table of both directions and the summary; ``names`` of the prediction and of the truth."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "mm" else "right", no_wrap=True)
    for row in rows(evaluation, names):
        table.add_row(*row)
    console.print(table)
    console.print(summary(evaluation, names), highlight=False)


def print_bands(bands: Sequence[BandAgreement], console: Console, *, names: tuple[str, str] = _NAMES) -> None:
    """Print roughness, difference and what is shared, a column a band; ``names`` of the two surfaces."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("cheeks, waves of", no_wrap=True)
    for band in bands:
        table.add_column(f"{band.low:g}–{band.high:g} mm", justify="right", no_wrap=True)
    lengths = {
        f"roughness of {names[0]}, mm": [band.roughness for band in bands],
        f"roughness of {names[1]}, mm": [band.other for band in bands],
        "rms difference, mm": [band.difference for band in bands],
    }
    for name, values in lengths.items():
        table.add_row(name, *("–" if value is None else f"{value:.4f}" for value in values))
    shares = ("–" if band.shared is None else f"{100 * band.shared:.0f} %" for band in bands)
    table.add_row("variance in common", *shares)
    console.print(table)
