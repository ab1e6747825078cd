"""One attempt at a capture, from its photos to its result's folder: what a worker process does."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from typing import Any

from mesoface.batch.claims import publish
from mesoface.batch.job import Attempt, Made
from mesoface.batch.provenance import capture_input, is_current, recipe_of, write_made_from
from mesoface.batch.thumbnail import THUMBNAIL, write_thumbnail
from mesoface.errors import MesofaceError
from mesoface.load import load_capture
from mesoface.mesh_io import read_mesh
from mesoface.output import save_face
from mesoface.pipeline import reconstruct
from mesoface.run_folder import read_record
from mesoface.stages import StageClock

PRELOAD = ("torch", "mediapipe", __name__)
"""Modules that a worker process has loaded before it is given an attempt."""


def attempt_capture(attempt: Attempt) -> Made:
    """Reconstruct a capture and publish the result, complete or not at all.

    Nothing is done where the result is there already; where another attempt has the capture's claim by now,
    this one's result is dropped.

    Raises:
        MesofaceError: the capture does not allow it, or this machine would make something else than the one
            that the batch was started on.
    """
    job = attempt.job
    check_recipe(job.recipe, recipe_of(job.settings))
    if is_current(job):
        return Made(read_record(job.result))  # another attempt's, of which nobody was told
    made_of = capture_input(job.capture, job.format, job.truth_path)
    truth = None if job.truth_path is None else read_mesh(job.truth_path)
    clock = StageClock()
    with clock.stage("loading"):
        capture = load_capture(job.capture, format=job.format, names=job.settings.view_ids)
    face = reconstruct(capture, job.settings, clock=clock)
    try:
        save_face(face, attempt.folder, truth=truth)
        write_thumbnail(attempt.folder / THUMBNAIL, face)
        write_made_from(attempt.folder, job.recipe, made_of)
        record = read_record(attempt.folder)
        if publish(attempt) or is_current(job):
            return Made(record)
        return Made(None, "another attempt may write it")
    except (OSError, MesofaceError) as error:
        return Made(None, str(error))
    finally:
        shutil.rmtree(attempt.folder, ignore_errors=True)


def check_recipe(wanted: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """See that this machine makes what the batch is to be made of.

    Raises:
        MesofaceError: it has another version, or other files under the names that the settings give.
    """
    if differing := [name for name in wanted if wanted[name] != json.loads(json.dumps(here.get(name)))]:
        raise MesofaceError(
            f"machine {platform.node()} would make it with other {' and '.join(differing)} than the one that "
            "started the batch",
            remedy="install the same version of mesoface on all machines, and name weights and models by "
            "paths that are the same on all",
        )
