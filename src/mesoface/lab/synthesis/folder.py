"""Synthetic captures on disk, in FaceScape's layout with the truth beside the photos."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mesoface.captures.formats import facescape
from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_folder
from mesoface.files.meshes import write_ply
from mesoface.lab.synthesis.capture import SyntheticCapture, photograph
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.running.progress import ProgressCallback, silent


def synthesize(
    out: str | Path,
    *,
    seed: int,
    model: str | FaceModel = "generic",
    views: int = 10,
    width: int = 864,
    height: int = 1296,
    spread_deg: float = 120.0,
    detail_mm: float = 0.6,
    truth_mm: float | None = None,
    jpeg_quality: int = 93,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a synthetic capture: ``<i>.jpg``, ``params.json``, ``gt.ply`` and ``truth.json``.

    Args:
        out: folder to make.
        seed: decides everything else. The same seed and arguments give the same bytes.
        model: a face model, or what :func:`mesoface.face_models.load_face_model` takes.
        views: number of photos, at least 2.
        width: of a photo, pixels.
        height: of a photo, pixels.
        spread_deg: angle between the outermost cameras, degrees.
        detail_mm: longest triangle edge of the photographed surface.
        truth_mm: longest triangle edge of ``gt.ply``, where it shall be a smaller file than that surface;
            ``truth.json`` says how far it is off then.
        jpeg_quality: 1–100.
        overwrite: whether a folder in the way is replaced.
        progress: told about every view.

    Returns:
        ``out``.

    Raises:
        MesofaceError: a number is out of its range, ``out`` is in the way or cannot be written, or the
            model cannot be used.
    """
    settings = SynthesisSettings(
        views=views,
        width=width,
        height=height,
        spread_deg=spread_deg,
        detail_mm=detail_mm,
        truth_mm=truth_mm,
        jpeg_quality=jpeg_quality,
    )
    with atomic_folder(out, overwrite=overwrite) as folder:
        made = photograph(seed=seed, model=model, settings=settings, progress=progress)
        write_capture(folder, made, model if isinstance(model, str) else model.name)
    return Path(out)


def write_capture(
    folder: Path, made: SyntheticCapture, model: str, more: Mapping[str, object] | None = None
) -> None:
    """Write a synthetic capture's files into an existing ``folder``.

    Args:
        folder: there already.
        made: what is written.
        model: its face model's name.
        more: what ``truth.json`` shall say beside :func:`describe`.
    """
    facescape.write(folder, made.photos, made.calibration, quality=made.settings.jpeg_quality)
    write_ply(folder / "gt.ply", made.truth)
    text = json.dumps(describe(made, model) | dict(more or {}), indent=1)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")


def describe(made: SyntheticCapture, model: str) -> dict[str, object]:
    """What ``truth.json`` says; ``error_mm`` is the distance of ``gt.ply`` from the photographed surface."""
    return {
        "mm_per_unit": 1.0,
        "seed": made.seed,
        "model": model,
        "settings": describe_settings(made.settings),
        "identity": [round(float(x), 6) for x in made.head.identity],
        "expression": [round(float(x), 6) for x in made.head.expression],
        "complexion": {k: round(v, 4) for k, v in dataclasses.asdict(made.complexion).items()},
        "truth": {
            "file": "gt.ply",
            "vertices": len(made.truth.vertices),
            "faces": len(made.truth.faces),
            "error_mm": {
                "mean": round(float(made.truth_error.mean()), 4),
                "p95": round(float(np.percentile(made.truth_error, 95)), 4),
                "max": round(float(made.truth_error.max()), 4),
            },
        },
    }


def describe_settings(settings: SynthesisSettings) -> dict[str, object]:
    """Settings as ``truth.json`` has them: flaws of the photos that are not there are not named."""
    values = dataclasses.asdict(settings)
    return {
        name: value for name, value in values.items() if value or name not in ("blur_px", "calibration_px")
    }
