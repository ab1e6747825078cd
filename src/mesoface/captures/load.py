"""From a capture's folder to undistorted photos in memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mesoface.captures.capture import Capture, CaptureSource, View, ViewSource
from mesoface.captures.formats import read_source
from mesoface.captures.formats.photos import TURN_PIXELS
from mesoface.errors import CaptureError
from mesoface.files.images import ImageHeader, as_float, decode_mask, decode_photo, read_header, turn_upright
from mesoface.geometry.camera import Camera
from mesoface.running.progress import ProgressCallback, silent

MIN_TURN = np.radians(2.0)
"""Least angle between the viewing directions of the two cameras that differ most."""


def load_capture(
    path: str | Path,
    *,
    format: str | None = None,
    names: Sequence[str] | None = None,
    max_size: int = 2048,
    progress: ProgressCallback = silent,
) -> Capture:
    """Read a capture: calibration, photos and masks; photos undistorted and at most ``max_size`` large.

    Args:
        path: the capture's folder.
        format: name of its format, or None to look at the folder.
        names: the views to load, or None for all.
        max_size: longest side of a photo in memory, pixels; larger ones are scaled down.
        progress: called as views are done.

    Returns:
        The capture; its ``notes`` say what was left out or adapted, and why.

    Raises:
        CaptureError: the calibration or a photo cannot be used; names the file and what to do.
    """
    return load_source(read_source(path, format), names=names, max_size=max_size, progress=progress)


def load_source(
    source: CaptureSource,
    *,
    names: Sequence[str] | None = None,
    max_size: int = 2048,
    progress: ProgressCallback = silent,
) -> Capture:
    """As :func:`load_capture`, of a calibration that has been read, or made, already."""
    views = _chosen(source, names)
    _check_rig(source, [view.camera for view in views])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # images.MAX_PIXELS is the limit here
        headers = [_matching_header(view) for view in views]
        loaded = _load_all(views, headers, max_size, progress)
    notes = [*source.notes, *_notes(views, headers, loaded)]
    return Capture(tuple(loaded), source.path, source.format, tuple(notes), source.mm_per_unit)


def _chosen(source: CaptureSource, names: Sequence[str] | None) -> tuple[ViewSource, ...]:
    """The views to load, in the order of ``names``."""
    views = source.views
    if names is not None:
        known = {view.name: view for view in views}
        if unknown := [name for name in names if name not in known]:
            raise CaptureError(
                f"no view named {', '.join(unknown)}",
                path=source.path,
                remedy=f"there are: {', '.join(known)}",
            )
        views = tuple(known[name] for name in dict.fromkeys(names))
    if len(views) < 2:
        why = "".join(f" ({note})" for note in source.notes)
        raise CaptureError(
            f"only {len(views)} usable view{'s' * (len(views) != 1)}, at least two are needed{why}",
            path=source.path,
            remedy="add photos of the same moment from other directions",
        )
    return views


def _check_rig(source: CaptureSource, cameras: Sequence[Camera]) -> None:
    """See that the cameras stand apart and look from different directions."""
    centers = np.array([camera.center for camera in cameras])
    if np.ptp(centers, axis=0).max() <= 1e-6 * max(1.0, np.abs(centers).max()):
        raise CaptureError(
            "all cameras stand at the same place, so depth cannot be measured",
            path=source.path,
            remedy="check the translations of the calibration, or take the photos from different places",
        )
    forward = np.array([camera.forward for camera in cameras])
    turn = np.arccos(np.clip(forward @ forward.T, -1, 1)).max()
    if turn < MIN_TURN:
        raise CaptureError(
            f"all cameras look the same way (within {np.degrees(turn):.1f}°), so depth cannot be measured",
            path=source.path,
            remedy="check the rotations of the calibration, or take photos from directions some 15° apart",
        )


def _matching_header(view: ViewSource) -> ImageHeader:
    """The photo's header, once its size, as stored or upright, is known to be the camera's."""
    header = read_header(view.image_path)
    size = (view.camera.width, view.camera.height)
    turned = header.orientation != 1
    if size not in (header.size, header.upright_size):
        also = (
            f", upright {_times(header.upright_size)} (EXIF orientation {header.orientation})"
            if turned
            else ""
        )
        raise CaptureError(
            f"the image is {_times(header.size)}{also}, but its camera was calibrated at {_times(size)}",
            path=view.image_path,
            remedy="use the photos that were calibrated, at their size, or calibrate again",
        )
    if turned and header.size == header.upright_size:
        raise CaptureError(
            f"the photo has EXIF orientation {header.orientation}, and its size does not show whether it was "
            "calibrated before or after turning",
            path=view.image_path,
            remedy=TURN_PIXELS,
        )
    if view.mask_path is not None:
        mask = read_header(view.mask_path)
        if size not in (mask.size, mask.upright_size):
            raise CaptureError(
                f"the mask is {_times(mask.size)}, but its photo {_times(size)}",
                path=view.mask_path,
                remedy="make the mask at the photo's size, or remove it",
            )
    return header


def _load_all(
    views: Sequence[ViewSource], headers: Sequence[ImageHeader], max_size: int, progress: ProgressCallback
) -> list[View]:
    """Decode and undistort the views, a thread a core."""
    progress("Reading photos", 0, len(views))
    loaded: dict[int, View] = {}
    with ThreadPoolExecutor(max_workers=min(len(views), os.cpu_count() or 1)) as pool:
        jobs = {
            pool.submit(_load, view, header, max_size): i
            for i, (view, header) in enumerate(zip(views, headers, strict=True))
        }
        try:
            for job in as_completed(jobs):
                loaded[jobs[job]] = job.result()
                progress("Reading photos", len(loaded), len(views))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [loaded[i] for i in range(len(views))]


def _load(view: ViewSource, header: ImageHeader, max_size: int) -> View:
    """One view: decoded, upright, scaled down, undistorted."""
    size = (view.camera.width, view.camera.height)
    pixels, mask = _decode(view, header)
    if view.mask_path is not None:
        mask = _read_mask(view.mask_path, size)
    elif mask is not None and mask.all():
        mask = None  # an alpha channel that says nothing

    camera = view.camera
    factor = max_size / max(size)
    if factor < 1:
        camera = camera.scaled(factor)
        pixels = cv2.resize(pixels, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        if mask is not None:
            mask = _resize_mask(mask, (camera.width, camera.height))
    image = as_float(pixels)
    if camera.lens is not None:
        try:
            camera, where = camera.undistorted()
        except ValueError as error:
            raise CaptureError(
                str(error), path=view.image_path, remedy=f"check the calibration of view {view.name}"
            ) from error
        # Lanczos keeps the skin's fine grain; it rings at hard edges, hence the clipping.
        image = cv2.remap(image, where, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        np.clip(image, 0, 1, out=image)
        if mask is not None:
            mask = cv2.remap(mask.astype(np.uint8), where, None, cv2.INTER_NEAREST).astype(bool)
    return View(view.name, image, camera, mask, view.image_path, view if factor < 1 else None)


def decode_full_size(view: ViewSource) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W, 3) RGB pixels of a photo at the size that it was calibrated at, upright, lens and all.

    Raises:
        CaptureError: the file is missing, or is no longer the photo that was calibrated.
    """
    return read_full_size(view)[0]


def read_full_size(
    view: ViewSource,
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_] | None]:
    """A photo as :func:`decode_full_size`, and its mask (H, W): that of the file, or the alpha channel.

    Raises:
        CaptureError: a file is missing, or is no longer the photo that was calibrated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        pixels, mask = _decode(view, _matching_header(view))
    if view.mask_path is not None:
        mask = _read_mask(view.mask_path, (view.camera.width, view.camera.height))
    return pixels, mask


def _decode(
    view: ViewSource, header: ImageHeader
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_] | None]:
    """Pixels and alpha channel, turned as the calibration has them."""
    pixels, mask = decode_photo(view.image_path)
    if _is_turned(header, view.camera):
        pixels = turn_upright(pixels, header.orientation)
        mask = None if mask is None else turn_upright(mask, header.orientation)
    return pixels, mask


def _read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask as (H, W), upright if that is what makes its size the photo's."""
    mask, header = decode_mask(path), read_header(path)
    return mask if header.size == size else turn_upright(mask, header.orientation)


def _resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5)


def _is_turned(header: ImageHeader, camera: Camera) -> bool:
    """Whether the calibration is of the photo as EXIF turns it, and not as it is stored."""
    return header.orientation != 1 and header.size != (camera.width, camera.height)


def _notes(views: Sequence[ViewSource], headers: Sequence[ImageHeader], loaded: Sequence[View]) -> list[str]:
    """What was adapted, one sentence each."""
    notes = []
    pairs = list(zip(views, headers, strict=True))
    if turned := [view.name for view, header in pairs if _is_turned(header, view.camera)]:
        notes.append(f"turned upright as EXIF says, which is how they were calibrated: {', '.join(turned)}")
    if kept := [
        v.name for v, header in pairs if header.orientation != 1 and not _is_turned(header, v.camera)
    ]:
        notes.append(
            f"EXIF orientation not applied, as the calibration is of the stored pixels: {', '.join(kept)}"
        )
    return notes


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
