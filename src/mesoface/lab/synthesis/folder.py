"""Synthetic captures and sequences on disk, in FaceScape's layout with the truth beside the photos."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mesoface.captures.formats import facescape
from mesoface.captures.lists import write_capture_list
from mesoface.errors import MesofaceError
from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_folder
from mesoface.files.meshes import write_ply
from mesoface.lab.synthesis.capture import SyntheticCapture, photograph, photograph_sequence
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.running.progress import ProgressCallback, silent

LIST = "frames.txt"
"""The list of a synthetic sequence's frames, in their order."""


def synthesize(
    out: str | Path,
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a synthetic capture: ``<i>.jpg``, ``params.json``, ``gt.ply`` and ``truth.json``.

    The same seed, model and settings give the same bytes.

    Args:
        out: folder to make.
        seed: determines everything that ``settings`` does not.
        model: a face model, or an argument of :func:`mesoface.face_models.load_face_model`.
        settings: sizes, number of views, strengths.
        overwrite: whether an existing folder is replaced.
        progress: called after every view.

    Returns:
        ``out``.

    Raises:
        MesofaceError: the seed is negative, ``out`` exists or cannot be written, or the model cannot be used.
    """
    with atomic_folder(out, overwrite=overwrite) as folder:
        made = photograph(seed=seed, model=model, settings=settings, progress=progress)
        write_capture(folder, made, _name(model))
    return Path(out)


def synthesize_sequence(
    out: str | Path,
    frames: int,
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    fps: float = 30.0,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write a synthetic sequence: a capture's folder for every frame (``000000``, …), and ``frames.txt``.

    Each frame's ``truth.json`` has the frame number and the frames per second as well; ``truth.json`` in
    ``out`` describes the sequence.

    ``frames`` is the number of frames, at least 2, and ``fps`` the frames per second. ``progress`` is called
    after every frame. The other arguments are those of :func:`synthesize`.

    Returns:
        the list of the frames, ``out/frames.txt``.

    Raises:
        MesofaceError: a number is out of range, or as for :func:`synthesize`.
    """
    if frames < 2:
        raise MesofaceError(f"a sequence has at least 2 frames, got {frames}")
    name = _name(model)
    with atomic_folder(out, overwrite=overwrite) as folder:
        progress("Frames", 0, frames)
        made = photograph_sequence(range(frames), seed=seed, model=model, settings=settings, fps=fps)
        for frame, capture in enumerate(made):
            place = folder / f"{frame:06d}"
            place.mkdir()
            write_capture(place, capture, name, {"frame": frame, "fps": fps})
            progress("Frames", frame + 1, frames)
        write_capture_list(
            folder / LIST, sorted(folder.glob("[0-9]*")), comment="frames of a synthetic sequence"
        )
        _write_truth(folder, {"seed": seed, "model": name, "frames": frames, "fps": fps, "mm_per_unit": 1.0})
    return Path(out) / LIST


def write_capture(
    folder: Path, made: SyntheticCapture, model: str, more: Mapping[str, object] | None = None
) -> None:
    """Write a synthetic capture's files.

    Args:
        folder: an existing folder.
        made: the capture.
        model: name of its face model.
        more: entries of ``truth.json`` beside those of :func:`describe`.
    """
    facescape.write_photos(folder, made.photos, made.calibration, quality=made.subject.settings.jpeg_quality)
    write_ply(folder / "gt.ply", made.truth)
    _write_truth(folder, describe(made, model) | dict(more or {}))


def describe(made: SyntheticCapture, model: str) -> dict[str, object]:
    """The content of ``truth.json``; ``error_mm``: distance of ``gt.ply`` from the photographed surface."""
    subject, error = made.subject, made.truth_error
    return {
        "mm_per_unit": 1.0,
        "seed": subject.seed,
        "model": model,
        "settings": describe_settings(subject.settings),
        "identity": [round(float(x), 6) for x in subject.head.identity],
        "expression": [round(float(x), 6) for x in subject.head.expression],
        "complexion": {k: round(v, 4) for k, v in dataclasses.asdict(subject.complexion).items()},
        "truth": {
            "file": "gt.ply",
            "vertices": len(made.truth.vertices),
            "faces": len(made.truth.faces),
            "error_mm": {
                "mean": round(float(error.mean()), 4),
                "p95": round(float(np.percentile(error, 95)), 4),
                "max": round(float(error.max()), 4),
            },
        },
    }


def describe_settings(settings: SynthesisSettings) -> dict[str, object]:
    """Settings as in ``truth.json``, which omits defocus and calibration errors of 0."""
    values = settings.model_dump()
    return {
        name: value for name, value in values.items() if value or name not in ("blur_px", "calibration_px")
    }


def _write_truth(folder: Path, content: Mapping[str, object]) -> None:
    (folder / "truth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _name(model: str | FaceModel) -> str:
    return model if isinstance(model, str) else model.name
