"""One attempt at a capture, from its photos to its result's folder: what a worker process does."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesoface.batch.job import Attempt, CaptureJob, Made
from mesoface.batch.provenance import capture_input, is_current, recipe_of, write_made_from
from mesoface.batch.summary import THUMBNAIL, write_thumbnail
from mesoface.captures.load import load_capture
from mesoface.errors import MesofaceError
from mesoface.files.meshes import read_mesh
from mesoface.geometry.mesh import Mesh
from mesoface.pipeline import reconstruct
from mesoface.results.face import Face
from mesoface.results.files import read_record
from mesoface.running.process import StageClock
from mesoface.save import save_face

PRELOAD = ("torch", "mediapipe", __name__)
"""Modules that a worker process loads before its attempt."""


def attempt_capture(attempt: Attempt) -> Made:
    """Reconstruct a capture and publish the result, complete or not at all.

    Nothing is done if the result is there already. If another attempt has claimed the capture meanwhile, this
    one's result is dropped.

    Raises:
        MesofaceError: the capture does not allow it.
    """
    job = attempt.job
    if obstacle := difference(job.recipe, recipe_of(job.settings)):
        return Made(None, obstacle)
    if is_current(job):
        return Made(read_record(job.result))  # an attempt whose end was not reported made it
    made_of = capture_input(job.capture, job.format, job.truth_path)
    truth = None if job.truth_path is None else read_mesh(job.truth_path)
    clock = StageClock()
    with clock.stage("loading"):
        capture = load_capture(job.capture, format=job.format, names=job.settings.view_ids)
    face = reconstruct(capture, job.settings).after(clock.stages)
    try:
        write_face(attempt.folder, job, face, truth, followed=False)
        write_made_from(attempt.folder, job.recipe, made_of)
        record = read_record(attempt.folder)
        if attempt.publish() or is_current(job):
            return Made(record)
        return Made(None, "another attempt may write it")
    except (OSError, MesofaceError) as error:
        return Made(None, str(error))
    finally:
        shutil.rmtree(attempt.folder, ignore_errors=True)


def write_face(folder: Path, job: CaptureJob, face: Face, truth: Mesh | None, *, followed: bool) -> None:
    """Write what :func:`mesoface.save.save_face` writes, and the picture for the batch's page.

    Args:
        folder: to make.
        job: the capture.
        face: what was made of it.
        truth: its true surface, where that is known.
        followed: whether it is a frame that follows the one before.

    Raises:
        MesofaceError: the folder cannot be written.
        OSError: the picture cannot.
    """
    save_face(face, folder, truth=truth, report=job.has_report(followed=followed))
    write_thumbnail(folder / THUMBNAIL, face)


def difference(wanted: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Why results of this machine would differ from the batch's; None if they would not."""
    differing = [name for name in wanted if wanted[name] != json.loads(json.dumps(here.get(name)))]
    if not differing:
        return None
    return (
        f"machine {platform.node()} has other {' and '.join(differing)} than the one that started the batch; "
        "install the same mesoface on all, and name weights and models by paths that are the same on all"
    )
