"""A moving head: frames of a multi-view video with the true surface of every frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mesoface.captures.lists import write_capture_list
from mesoface.errors import MesofaceError
from mesoface.face_models.model import FaceModel
from mesoface.files.atomic import atomic_folder
from mesoface.lab.synthesis.capture import Studio, SyntheticCapture
from mesoface.lab.synthesis.folder import write_capture
from mesoface.lab.synthesis.motion import EXPRESSIONS, REST, Motion
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.lab.synthesis.subject import chance
from mesoface.running.progress import ProgressCallback, silent

LIST = "frames.txt"
"""The list of a synthetic sequence's frames, in their order."""


def photograph_sequence(
    frames: Sequence[int],
    *,
    seed: int,
    model: str | FaceModel = "generic",
    settings: SynthesisSettings | None = None,
    fps: float = 30.0,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> Iterator[SyntheticCapture]:
    """Photograph a head that turns and changes its expression, with cameras and lights that stay.

    Frame 0 is what :func:`mesoface.lab.synthesis.photograph` makes of the same seed and settings. A frame
    does not depend on which others are made. The truths of all frames have the same triangles, of the same
    skin.

    Args:
        frames: their numbers, ≥ 0, in the order that is wanted; gaps make cuts.
        seed: decides everything that ``settings`` does not.
        model: a face model, or what :func:`mesoface.face_models.load_face_model` takes.
        settings: sizes, number of views, strengths.
        fps: frames per second: the faster, the smaller the steps.
        threads: how many photos are rendered at once; None: as many as there are cores.
        progress: told about every view.

    Raises:
        FaceModelError: the model cannot be loaded, or has no landmarks.
        MesofaceError: ``seed``, a frame's number or ``fps`` is out of range.
    """
    if not fps > 0 or any(frame < 0 for frame in frames):
        raise MesofaceError(f"frames must not be negative, and fps positive; got fps {fps:g}")
    settings = settings or SynthesisSettings()
    studio = Studio.set_up(seed=seed, model=model, settings=settings, expressions=EXPRESSIONS)
    motion = Motion.draw(chance(seed, "motion"))
    first = studio.take(REST, threads=threads, progress=progress)
    for frame in frames:
        if frame == 0:
            yield first
            continue
        pose = motion.at(frame / fps)
        yield studio.take(pose, frame=frame, gain=first.gain, threads=threads, progress=progress)


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

    The folders are those that :func:`mesoface.lab.synthesis.synthesize` writes, with the frame's number and
    the frames per second in ``truth.json``; ``truth.json`` in ``out`` says what all of them are.

    Args:
        out: folder to make.
        frames: how many, at least 2.
        seed: as for :func:`photograph_sequence`; so are the arguments after it.
        model: likewise.
        settings: likewise.
        fps: likewise.
        overwrite: whether a folder in the way is replaced.
        progress: told about every frame.

    Returns:
        the list of the frames, ``out/frames.txt``.

    Raises:
        FaceModelError: the model cannot be loaded, or has no landmarks.
        MesofaceError: a number is out of its range, or ``out`` is in the way or cannot be written.
    """
    if frames < 2:
        raise MesofaceError(f"a sequence has at least 2 frames, got {frames}")
    name = model if isinstance(model, str) else model.name
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
        said = {"seed": seed, "model": name, "frames": frames, "fps": fps, "mm_per_unit": 1.0}
        (folder / "truth.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return Path(out) / LIST
