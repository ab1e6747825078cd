"""One capture of FaceScape prepared: views chosen, photos undistorted, base mesh fitted, maps made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mesoface.captures.formats import facescape
from mesoface.captures.load import load_capture
from mesoface.config import Settings
from mesoface.files.atomic import atomic_folder
from mesoface.files.meshes import read_mesh, write_obj
from mesoface.lab.facescape.layout import PreparedFolder
from mesoface.lab.facescape.maps import BaseMaps, base_maps, write_maps
from mesoface.lab.facescape.photos import prepared_photo
from mesoface.lab.facescape.raw import RawCapture
from mesoface.lab.facescape.records import Record, write_record
from mesoface.lab.facescape.selection import choose_views, given_views
from mesoface.lab.training.truth import check_truth
from mesoface.pipeline import reconstruct
from mesoface.results.face import Face

if TYPE_CHECKING:
    from mesoface.lab.facescape.prepare import PrepareSettings

_QUALITY = 95  # of the JPEG files


@dataclass(frozen=True)
class PrepareJob:
    """One capture to prepare.

    Args:
        raw: the capture as published.
        folder: the prepared folder.
        split: of the capture.
        mm_per_unit: of its world.
        views: which to use; None to choose.
        settings: of the folder.
    """

    raw: RawCapture
    folder: PreparedFolder
    split: str
    mm_per_unit: float
    views: tuple[int, ...] | None
    settings: PrepareSettings


def prepare_capture(job: PrepareJob) -> None:
    """Write everything about one capture; its record comes last.

    Raises:
        MesofaceError: the capture cannot be used: its calibration, its photos, its face or its scan.
    """
    source = facescape.read(job.raw.folder)
    if job.views is None:
        numbers, notes = choose_views(source, job.settings.views)
    else:
        numbers, notes = given_views(source, job.views)
    by_number = {int(view.name): view for view in source.views}
    id, folder = job.raw.id, job.folder
    with atomic_folder(folder.images(id), overwrite=True) as images:
        photos, cameras = zip(
            *(prepared_photo(by_number[number], job.settings.longest_side) for number in numbers), strict=True
        )
        facescape.write(
            images, photos, cameras, numbers=numbers, mm_per_unit=job.mm_per_unit, quality=_QUALITY
        )
        face = reconstruct(
            load_capture(images),
            Settings(
                until="base",
                face_model=job.settings.face_model,
                matcher="ncc",  # nothing is matched: no weights need be read
                views=len(numbers),
                threads=1,
            ),
        )
        maps = _maps(job, face)
    _link_scan(job)
    base = face.fit.mesh
    write_obj(folder.fit_mesh(id), base.with_vertices(base.vertices / job.mm_per_unit))
    write_maps(folder, job.split, id, maps)
    write_record(
        folder,
        Record(
            id=id,
            split=job.split,
            views=tuple(numbers),
            mm_per_unit=job.mm_per_unit,
            scan=job.raw.scan is not None,
            known=round(maps.known, 4),
            landmark_error_px=round(float(np.nanmedian(face.fit.residuals)), 3),
            notes=(*source.notes, *notes, *face.warnings),
        ),
    )


def _maps(job: PrepareJob, face: Face) -> BaseMaps:
    """UV maps of the base mesh, once the scan is known to be what the photos show."""
    scan, facial = None, face.fit.model.topology.facial
    if job.raw.scan is not None:
        scan = read_mesh(job.raw.scan)
        scan = scan.with_vertices(scan.vertices * job.mm_per_unit)
        check_truth(face.capture, scan)
        check_truth(face.capture, scan, face.landmarks3d)
    return base_maps(face.fit.mesh, facial, scan, face.capture.cameras, job.mm_per_unit)


def _link_scan(job: PrepareJob) -> None:
    """A link to the scan beside the photos: scans are large, and are only read."""
    link = job.folder.scan(job.raw.id)
    link.unlink(missing_ok=True)
    if job.raw.scan is not None:
        link.symlink_to(os.path.relpath(job.raw.scan.resolve(), link.parent.resolve()))
