"""A capture in another format: its photos copied, or undistorted, and its calibration rewritten.

Photos are copied byte for byte, not linked: a capture is a folder that can be sent, moved and archived, and
programs that write into photos (orientation, tags) must not reach the originals through a link.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import CaptureSource, ViewSource
from mesoface.captures.formats import WRITERS, CaptureWriter, read_source
from mesoface.captures.formats.files import notes_on
from mesoface.captures.formats.lenses import Unsupported
from mesoface.captures.load import read_with_mask, undistort_camera, undistort_pixels
from mesoface.errors import CaptureError, MesofaceError
from mesoface.files.atomic import atomic_folder
from mesoface.files.images import SUFFIXES, decode_mask, read_header
from mesoface.running.progress import ProgressCallback, silent

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_UPRIGHT = ".png"  # of photos whose pixels are rewritten, without loss


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` wrote.

    Args:
        path: the new capture's folder.
        format: its format.
        views: how many views it has.
        notes: what reading left out, what the format cannot represent, renamed views; one sentence each.
    """

    path: Path
    format: str
    views: int
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    format: str | None = None,
    undistort: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Conversion:
    """Write a capture in another format.

    Args:
        source: the capture's folder.
        target: the new capture's folder; it appears when it is complete.
        to: a key of :data:`~mesoface.captures.formats.WRITERS`.
        format: the source's format, or None to recognise it from the files.
        undistort: write undistorted photos (PNG, with the same bit depth) and pinhole cameras.
        overwrite: whether a ``target`` that is not empty may be replaced.
        progress: called as photos are done.

    Raises:
        CaptureError: the source cannot be read, or the format cannot represent its cameras.
        MesofaceError: there is no such format, or the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    if to not in WRITERS:
        remedy = f"there are: {', '.join(WRITERS)}"
        raise MesofaceError(f"no format {to!r} to write", path=target, remedy=remedy)
    captured = read_source(source, format)
    a, b = source.resolve(), target.resolve()
    if a.is_relative_to(b) or b.is_relative_to(a):
        what, remedy = "lies in the capture to be converted, or contains it", "name a folder beside it"
        raise MesofaceError(what, path=target, remedy=remedy)
    if not captured.views:
        raise CaptureError("has no usable view", path=source, remedy="see `mesoface inspect`")
    with atomic_folder(target, overwrite=overwrite) as folder:
        planned = _planned(captured.views, folder, WRITERS[to], undistort)
        _write(to, folder, [after for _, after in planned], captured)
        for done, (before, after) in enumerate(planned):
            progress("Writing photos", done, len(planned))
            (_write_undistorted if undistort else _copy)(before, after)
        progress("Writing photos", len(planned), len(planned))
    return Conversion(target, to, len(planned), (*captured.notes, *_notes(captured, to, planned)))


def _planned(
    views: Sequence[ViewSource], folder: Path, writer: CaptureWriter, undistort: bool
) -> list[tuple[ViewSource, ViewSource]]:
    """Each view as it is, and as it will be in ``folder``."""
    planned = []
    for index, (view, stem) in enumerate(zip(views, _stems(views), strict=True)):
        suffix = _UPRIGHT if undistort else view.image_path.suffix.lower()
        photo = folder / writer.PHOTO.format(index=index, stem=stem, suffix=suffix)
        header = read_header(view.image_path)
        if header.orientation != 1 and not undistort:
            raise CaptureError(
                f"the photo has EXIF orientation {header.orientation}, which not every program applies",
                path=view.image_path,
                remedy="pass --undistort, which writes its pixels as they were calibrated",
            )
        camera = undistort_camera(view)[0] if undistort else view.camera
        mask = None
        if writer.MASK is not None and view.mask_path is not None:
            read_header(view.mask_path)
            mask = folder / writer.MASK.format(index=index, stem=stem, suffix=suffix, photo=photo.name)
        planned.append((view, replace(view, image_path=photo, mask_path=mask, camera=camera)))
    return planned


def _stems(views: Sequence[ViewSource]) -> list[str]:
    """Unique file names for the views, without suffix: their own names where these are possible."""
    stems: list[str] = []
    for view in views:
        name = view.name[: -len(Path(view.name).suffix)] if Path(view.name).suffix in SUFFIXES else view.name
        stem = _NOT_IN_NAMES.sub("_", name).strip("._") or "view"
        taken = {other.lower() for other in stems}
        number, unique = 2, stem
        while unique.lower() in taken:
            number, unique = number + 1, f"{stem}_{number}"
        stems.append(unique)
    return stems


def _write(to: str, folder: Path, views: Sequence[ViewSource], captured: CaptureSource) -> None:
    """Write the calibration. This precedes the photos, so that unsupported cameras are found at once."""
    for view in views:
        for path in filter(None, (view.image_path, view.mask_path)):
            path.parent.mkdir(exist_ok=True)
    try:
        WRITERS[to].write(folder, views, captured.mm_per_unit)
    except Unsupported as error:
        others = ", ".join(name for name in WRITERS if name != to)
        remedy = "pass --undistort" if error.undistort else f"choose another of {others}"
        raise CaptureError(
            f"{error}, which {to} cannot represent", path=captured.path, remedy=remedy
        ) from error


def _copy(before: ViewSource, after: ViewSource) -> None:
    """Copy a view's photo, and its mask as PNG."""
    shutil.copyfile(before.image_path, after.image_path)
    if before.mask_path is None or after.mask_path is None:
        return
    if before.mask_path.suffix.lower() == after.mask_path.suffix:
        shutil.copyfile(before.mask_path, after.mask_path)
    else:
        _save(after.mask_path, decode_mask(before.mask_path).astype(np.uint8) * 255)


def _write_undistorted(before: ViewSource, after: ViewSource) -> None:
    """Write a view's photo and mask as seen by the pinhole camera of ``after``."""
    pixels, mask = undistort_pixels(*read_with_mask(before), undistort_camera(before)[1])
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if mask is not None:
        if after.mask_path is not None:
            _save(after.mask_path, mask * np.uint8(255))
        elif before.mask_path is None:  # an alpha channel remains one
            pixels = np.dstack([pixels, mask * pixels.dtype.type(np.iinfo(pixels.dtype).max)])
    _save(after.image_path, pixels)


def _save(path: Path, pixels: NDArray) -> None:
    """Write pixels, BGR or grey, as PNG."""
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _notes(captured: CaptureSource, to: str, planned: Sequence[tuple[ViewSource, ViewSource]]) -> list[str]:
    """What the user needs to know to use the new capture."""
    notes = []
    if captured.mm_per_unit is not None and not WRITERS[to].STATES_UNIT:
        notes.append(f"{to} cannot state the unit: pass --scale {captured.mm_per_unit:g} to mesoface")
    if WRITERS[to].MASK is None and any(before.mask_path is not None for before, _ in planned):
        notes.append(f"{to} has no masks: they were left out")
    names = [(before.name, after.image_path.stem) for before, after in planned]
    return notes + notes_on({"views were renamed": [f"{old} to {new}" for old, new in names if old != new]})
