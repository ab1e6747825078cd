"""A result's folder as batches and sequences leave it."""

from __future__ import annotations

from pathlib import Path

from mesoface.batch.job import CaptureJob
from mesoface.batch.thumbnail import THUMBNAIL, write_thumbnail
from mesoface.geometry.mesh import Mesh
from mesoface.results.face import Face
from mesoface.save import save_face


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
