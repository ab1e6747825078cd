"""``write_result``: the one writer of a result folder, but for its report and exports."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mesoface
from mesoface.evaluation import Evaluation, FilledStats
from mesoface.files.maps import write_exr, write_png
from mesoface.files.meshes import write_obj, write_ply
from mesoface.results.face import Face
from mesoface.results.files import FORMAT, write_cameras, write_fit, write_landmarks, write_space
from mesoface.running.process import peak_memory_mb
from mesoface.surface.fine import vertex_map

_PACKAGES = ("numpy", "opencv-contrib-python", "torch", "mediapipe", "embreex", "scipy")


def write_result(folder: Path, face: Face, errors: NDArray[np.float64] | None = None) -> None:
    """Write all that :func:`.face.load_face` reads but ``run.json``, which :func:`write_record` writes last.

    Args:
        folder: that exists.
        face: the result.
        errors: (N,) distances of ``face.surface``'s vertices to the true surface, mm, where that is known.

    Raises:
        MesofaceError: a file cannot be written.
    """
    write_obj(folder / "base.obj", face.base)
    write_fit(folder / "base_fit.npz", face.fit)
    write_landmarks(folder / "landmarks.npz", face.landmarks2d, face.landmarks3d)
    write_cameras(folder / "cameras.json", face.capture)
    write_ply(folder / "region.ply", face.region)
    if (fine := face.fine) is not None:
        write_ply(folder / "fine.ply", fine.mesh)
        write_space(folder / "space.npz", fine)
        millimetres = np.where(fine.kept, fine.displacement, np.nan)
        comment = "millimetres along the smoothed normals of base.obj"
        write_exr(folder / "displacement.exr", millimetres, comment=comment)
        write_png(folder / "confidence.png", fine.confidence)
        write_png(folder / "measured.png", fine.measured.astype(np.float32))
        if fine.uncertainty is not None:
            sigma = np.where(fine.measured, fine.uncertainty, np.nan)
            comment = "mm, one standard deviation along the normal, NaN where not measured"
            write_exr(folder / "uncertainty.exr", sigma, comment=comment)
        if errors is not None:
            distance = vertex_map(fine.mesh, errors, len(fine.kept))
            write_exr(folder / "error.exr", distance, comment="mm to the true surface, NaN where unknown")
    if face.relief is not None and face.detailed is not None:
        write_ply(folder / "detailed.ply", face.detailed)
        millimetres = np.where(face.relief.valid, face.relief.height, np.nan)
        write_exr(folder / "meso.exr", millimetres, comment="predicted; mm along the normals of fine.ply")
    if face.texture is not None:
        write_png(folder / "texture.png", face.texture.color)
        write_png(folder / "texture_seen.png", face.texture.seen.astype(np.float32))


def write_record(
    folder: Path,
    face: Face,
    evaluation: Evaluation | None = None,
    detailed: Evaluation | None = None,
    filled: FilledStats | None = None,
) -> None:
    """Write ``run.json``: versions, settings, views, scale, stages, figures, warnings.

    Args:
        folder: that exists.
        face: the result.
        evaluation: of the measured surface, where the truth is known.
        detailed: of the same with predicted relief.
        filled: of what was filled in, where anything was.

    Raises:
        OSError: it cannot be written.
    """
    fine, capture = face.fine, face.capture
    record: dict[str, object] = {
        "format": FORMAT,
        "mesoface": mesoface.__version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "capture": {"path": str(capture.path), "format": capture.format, "views": list(capture.names)},
        "settings": face.settings.model_dump(mode="json"),
        "unit": "mm",
        "mm_per_unit": face.scale.mm_per_unit,
        "scale": {"source": face.scale.source, "relative_uncertainty": face.scale.relative_uncertainty},
        "face_model": face.fit.model.name,
        "landmarks": {"scheme": face.landmarks2d.scheme, "notes": list(face.landmarks2d.notes)},
        "landmark_error_px": float(np.nanmedian(face.fit.residuals)),
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 3), "peak_mb": round(stage.peak_mb, 1)}
            for stage in face.stages
        ],
        "seconds": round(sum(stage.seconds for stage in face.stages), 3),
        "peak_mb": round(peak_memory_mb(), 1),
        "warnings": list(face.warnings),
        "checks": [_rounded(asdict(check)) for check in face.checks],
    }
    if fine is not None:
        record["surface"] = {
            "uv_size": int(fine.kept.shape[0]),
            "texel_mm": round(fine.space.texel_mm, 4),
            "vertices": len(fine.mesh.vertices),
            "left_out": round(fine.left_out, 5),
            "filled": round(float(fine.filled.sum() / max(fine.kept.sum(), 1)), 5),
        }
        if fine.uncertainty is not None and fine.measured.any():
            record["uncertainty"] = summarize_uncertainty(fine.uncertainty[fine.measured])
    if face.texture is not None:
        record["texture"] = {"size": face.texture.size, "seen": round(float(face.texture.seen.mean()), 5)}
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
    if filled is not None:
        record["evaluation_filled"] = filled.to_dict()
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in values.items()}


def summarize_uncertainty(sigma: NDArray[np.floating]) -> dict[str, float]:
    """Median, mm, and shares within 0.1 and 0.2 mm of standard deviations (N,), N ≥ 1, mm."""
    return {
        "median_mm": round(float(np.median(sigma)), 4),
        "within_0.1": round(float((sigma <= 0.1).mean()), 4),
        "within_0.2": round(float((sigma <= 0.2).mean()), 4),
    }
