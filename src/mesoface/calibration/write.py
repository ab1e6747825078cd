"""The capture's folder: photos, ``capture.json``, ``calibration.json`` and the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mesoface.calibration.calibrate import Calibration, calibrate
from mesoface.calibration.photos import Photo
from mesoface.calibration.settings import CalibrationSettings
from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.plain import write_capture_json
from mesoface.files.atomic import atomic_folder, check_output_folder
from mesoface.running.progress import ProgressCallback, silent

RECORD = "calibration.json"
PAGE = "calibration.html"


def calibrate_folder(
    source: str | Path,
    out: str | Path,
    settings: CalibrationSettings | None = None,
    *,
    page: Callable[[Calibration], str] | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Calibration:
    """Calibrate photos and write the capture: all of it, or nothing.

    Args:
        source: a folder of photos, or a video.
        out: the capture's folder, which is made.
        settings: None for the defaults.
        page: draws ``calibration.html``, which is left out without it.
        overwrite: whether an older calibration there may be replaced.
        progress: called as the steps advance.

    Returns:
        the calibration, its photos where they are now (those that were not placed are gone).

    Raises:
        MesofaceError: see :func:`.calibrate.calibrate`; or ``out`` is in the way.
    """
    source, out = Path(source).absolute(), Path(out)
    check_output_folder(
        out,
        record=RECORD,
        overwrite=overwrite,
        other=f"--overwrite replaces calibrations only, and this folder has no {RECORD}",
        source=source,
        inside="the capture would be written into the photos' folder (or over it)",
    )
    with atomic_folder(out, overwrite=overwrite) as folder:
        calibration = calibrate(source, folder, settings, progress=progress)
        sources = view_sources(calibration)
        placed = {view.image_path for view in sources}
        for photo in calibration.photos:
            if photo.path not in placed:
                photo.path.unlink()
                if photo.mask_path is not None:
                    photo.mask_path.unlink()
        write_capture_json(folder, sources, mm_per_unit=1.0)
        text = json.dumps(calibration_record(calibration), indent=1, ensure_ascii=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
        if page is not None:
            (folder / PAGE).write_text(page(calibration), encoding="utf-8")
    return replace(calibration, photos=tuple(_moved(photo, folder, out) for photo in calibration.photos))


def _moved(photo: Photo, before: Path, now: Path) -> Photo:
    """The photo after its folder was renamed."""
    mask = photo.mask_path
    return replace(
        photo,
        path=now / photo.path.relative_to(before),
        mask_path=None if mask is None else now / mask.relative_to(before),
    )


def view_sources(calibration: Calibration) -> list[ViewSource]:
    """The photos that were placed, with their cameras, in millimetres."""
    return [
        ViewSource(photo.name, photo.path, camera, photo.mask_path)
        for photo, camera in zip(calibration.photos, calibration.solution.cameras, strict=True)
        if camera is not None
    ]


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """Everything but the cameras, ready for JSON."""
    solution, verdict, scale = calibration.solution, calibration.verdict, calibration.scale
    return {
        "source": calibration.source.name,
        "method": solution.method,
        "verdict": verdict.level,
        "problems": [{"what": problem.what, "remedy": problem.remedy} for problem in verdict.problems],
        "tried": calibration.tried,
        "scale": {"source": scale.source, "relative_uncertainty": round(scale.relative_uncertainty, 4)},
        "points": solution.points,
        "reprojection_error_px": _number(solution.error),
        "triangulation_angle_deg": _number(solution.angle),
        "views": [
            {
                "name": photo.name,
                "placed": camera is not None,
                "points": int(solution.counts[v]),
                "reprojection_error_px": _number(solution.errors[v]),
                "landmark_disagreement": _number(verdict.agreement[v], 5),
            }
            for v, (photo, camera) in enumerate(zip(calibration.photos, solution.cameras, strict=True))
        ],
        "settings": dict(vars(calibration.settings)),
        "notes": list(calibration.notes),
    }


def _number(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
