"""From photos to cameras: the order of the steps, the cameras' world, and the capture's folder.

The folder has the photos, ``capture.json``, ``calibration.json`` and the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesoface.calibration.features import solve_by_features
from mesoface.calibration.landmark_bundle import choose_photos, solve_by_landmarks
from mesoface.calibration.photos import (
    Photo,
    cameras_of,
    extract_frames,
    find_photos,
    is_video,
    read_pixels,
    take_over,
)
from mesoface.calibration.settings import CalibrationSettings
from mesoface.calibration.solution import Solution, Verdict, judge
from mesoface.captures.capture import ViewSource
from mesoface.captures.formats.plain import write_capture_json
from mesoface.errors import LandmarkError, ReconstructionError
from mesoface.face_models.scale import ScaleEstimate, scale_from_eyes
from mesoface.files.atomic import atomic_folder, check_output_folder
from mesoface.geometry.camera import Camera
from mesoface.landmarks import Landmarks2D, Landmarks3D, MediapipeDetector
from mesoface.landmarks.selection import face_axes, face_sharpness
from mesoface.running.progress import ProgressCallback, silent

RECORD, PAGE = "calibration.json", "calibration.html"
_FEWEST = 3
_REMEDY = "take a dozen photos of one still face from different sides, some 15° apart, sharp and evenly lit"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Cameras of photos of a face.

    Args:
        source: the folder or video that the photos came from.
        photos: V photos, in the capture's folder.
        landmarks: of the face in them.
        solution: their cameras, in the face's world, millimetres.
        verdict: how far these can be trusted.
        scale: how the millimetres are known; ``mm_per_unit`` is of the solution's first world.
        settings: of the calibration.
        tried: method → why it was not taken, of the methods that were tried before.
        notes: what was left out or adapted, one sentence each.
    """

    source: Path
    photos: tuple[Photo, ...]
    landmarks: Landmarks2D
    solution: Solution
    verdict: Verdict
    scale: ScaleEstimate
    settings: CalibrationSettings
    tried: dict[str, str]
    notes: tuple[str, ...]


def calibrate(
    source: Path,
    folder: Path,
    settings: CalibrationSettings | None = None,
    *,
    progress: ProgressCallback = silent,
) -> Calibration:
    """Find the cameras of photos of a face.

    Args:
        source: a folder of photos, or a video.
        folder: the capture's folder, which exists and is empty: photos are put into ``images/`` there.
        settings: None for the defaults.
        progress: called as the steps advance.

    Raises:
        MesofaceError: no photos, no face, or no cameras that can be trusted.
    """
    settings = settings or CalibrationSettings()
    photos, landmarks, notes = _photos(source, folder, settings, progress)
    camera_of = cameras_of(photos, settings.cameras)
    solution, verdict, tried = _solve(source, photos, landmarks, camera_of, settings, progress)
    assert verdict.landmarks is not None
    cameras, scale = face_world(solution.cameras, verdict.placed, landmarks, verdict.landmarks)
    found = replace(solution, cameras=cameras)
    return Calibration(source, tuple(photos), landmarks, found, verdict, scale, settings, tried, tuple(notes))


def _photos(
    source: Path, folder: Path, settings: CalibrationSettings, progress: ProgressCallback
) -> tuple[list[Photo], Landmarks2D, list[str]]:
    """The photos to calibrate, in the capture's folder, and the face in them."""
    with TemporaryDirectory(dir=folder) as frames:
        if is_video(source):
            files = extract_frames(source, Path(frames), settings.max_photos, progress=progress)
        else:
            files = find_photos(source)
        photos, notes = take_over(files, folder)
    if len(photos) < _FEWEST:
        what = f"{len(photos)} photo{'s' * (len(photos) != 1)}, at least {_FEWEST} are needed to find cameras"
        raise LandmarkError(what, path=source, remedy=_REMEDY)
    landmarks, sharpness = _detect(photos, progress)
    notes += landmarks.notes
    if landmarks.found.sum() < _FEWEST:
        seen = [photo.name for photo, found in zip(photos, landmarks.found, strict=True) if found]
        where = f"only in {', '.join(seen)}" if seen else "in no photo"
        what = f"a face was found {where} of {len(photos)}, at least {_FEWEST} must show it"
        remedy = "use photos that show the face upright, within about 60° of the front"
        raise LandmarkError(what, path=source, remedy=remedy)
    if len(photos) <= settings.max_photos:
        return photos, landmarks, notes
    sizes = np.array([photo.size for photo in photos])
    keep = choose_photos(landmarks, sizes, sharpness, settings.max_photos)
    for v in set(range(len(photos))).difference(keep):
        photos[v].remove()
    notes.append(f"{len(keep)} of {len(photos)} photos were taken: sharp ones, spread over the arc")
    return [photos[v] for v in keep], landmarks.select(keep), notes


def _detect(photos: Sequence[Photo], progress: ProgressCallback) -> tuple[Landmarks2D, NDArray[np.float64]]:
    """Landmarks, and how sharp each photo's face is (NaN without one)."""
    names = [photo.name for photo in photos]
    detector = MediapipeDetector(progress)
    landmarks = detector.detect_uncalibrated((read_pixels(photo) for photo in photos), names)
    sharpness = np.full(len(photos), np.nan)
    for v in np.flatnonzero(landmarks.found):
        sharpness[v] = face_sharpness(read_pixels(photos[v]), landmarks.points[v])
    return landmarks, sharpness


def _solve(
    source: Path,
    photos: Sequence[Photo],
    landmarks: Landmarks2D,
    camera_of: NDArray[np.int64],
    settings: CalibrationSettings,
    progress: ProgressCallback,
) -> tuple[Solution, Verdict, dict[str, str]]:
    """The better of the methods that may be used, and why the others were not taken.

    Features come first; landmarks are tried when the verdict on these is not good.
    """
    methods: dict[str, Callable[..., Solution]] = {
        "features": partial(solve_by_features, background=settings.background, threads=settings.threads),
        "landmarks": solve_by_landmarks,
    }
    found: list[tuple[Solution, Verdict]] = []
    refused: dict[str, str] = {}
    for name, solve in methods.items():
        if settings.method not in ("auto", name) or any(verdict.rank == 0 for _, verdict in found):
            continue
        try:
            solution = solve(photos, landmarks, camera_of, progress=progress)
        except (ReconstructionError, LandmarkError) as error:
            refused[name] = error.message
            continue
        found.append((solution, judge(photos, landmarks, solution)))
    best = min(found, key=lambda pair: pair[1].rank, default=None)  # the first of equals
    for pair in found:
        solution, verdict = pair
        if pair is not best or verdict.level == "failed":
            refused[solution.method] = "; ".join(problem.what for problem in verdict.problems)
    if best is None or best[1].level == "failed":
        why = ". ".join(f"By {name}: {reason}" for name, reason in refused.items())
        what = f"no cameras that can be trusted were found. {why}"
        raise ReconstructionError(what, path=source, remedy=_REMEDY)
    return *best, refused


def face_world(
    cameras: Sequence[Camera | None], placed: Sequence[int], landmarks: Landmarks2D, points: Landmarks3D
) -> tuple[tuple[Camera | None, ...], ScaleEstimate]:
    """Cameras moved into the face's world, and how its scale is known.

    x goes to the subject's left, y up, z out of the face; the origin is the middle of the landmarks.

    Args:
        cameras: of V photos in any world; None where there is none.
        placed: indices of the photos that ``points`` are of.
        landmarks: in V photos.
        points: the same triangulated, in the cameras' world.

    Raises:
        ReconstructionError: the eyes were not located, so the scale is unknown.
        LandmarkError: eye corners, chin or forehead were not located.
    """
    shown = [camera for v in placed if (camera := cameras[v]) is not None]
    scale = scale_from_eyes(shown, landmarks.select(placed), points)
    if scale is None:
        what = "the eyes were not located, so the scale is unknown"
        raise ReconstructionError(what, remedy="add photos from the front")
    axes = face_axes(points)
    middle = np.nanmean(points.points, 0)
    moved = tuple(
        None if camera is None else camera.moved(axes, -axes @ middle).scaled_world(scale.mm_per_unit)
        for camera in cameras
    )
    return moved, scale


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
        MesofaceError: see :func:`calibrate`; or ``out`` is in the way.
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
        views = []
        for photo, camera in zip(calibration.photos, calibration.solution.cameras, strict=True):
            if camera is None:
                photo.remove()
            else:
                views.append(ViewSource(photo.name, photo.path, camera, photo.mask_path))
        write_capture_json(folder, views, mm_per_unit=1.0)
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
        "settings": calibration.settings.model_dump(),
        "notes": list(calibration.notes),
    }


def _number(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
