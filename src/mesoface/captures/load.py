"""From a capture's folder to undistorted photos in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mesoface.captures.capture import Capture, CaptureSource, View, ViewSource, check_names
from mesoface.captures.formats import read_source
from mesoface.captures.formats.files import notes_on, parted, refused
from mesoface.captures.formats.photos import TURN_PIXELS
from mesoface.errors import CaptureError
from mesoface.files.images import ImageHeader, as_float, decode_mask, decode_photo, read_header, turn_upright
from mesoface.geometry.camera import Camera
from mesoface.running.process import ignored_warnings
from mesoface.running.progress import ProgressCallback, silent

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
MIN_TURN = np.radians(2.0)
"""The least angle between the two viewing directions that differ most, radians."""


def load_capture(
    path: str | Path,
    *,
    format: str | None = None,
    names: Sequence[str] | None = None,
    max_size: int = 2048,
    progress: ProgressCallback = silent,
) -> Capture:
    """Read a capture: its calibration, photos and masks; photos are undistorted and scaled to ``max_size``.

    Args:
        path: the capture's folder.
        format: name of its format, or None to recognise it from the files.
        names: the views to load, or None for all.
        max_size: longest side of a photo in memory, pixels; larger ones are scaled down.
        progress: called as views are done.

    Returns:
        The capture; its ``notes`` list what was left out or adapted, and why.

    Raises:
        CaptureError: the calibration or a photo cannot be used; names the file and the remedy.
    """
    return load_source(read_source(path, format), names=names, max_size=max_size, progress=progress)


def load_source(
    source: CaptureSource,
    *,
    names: Sequence[str] | None = None,
    max_size: int = 2048,
    progress: ProgressCallback = silent,
) -> Capture:
    """As :func:`load_capture`, with a calibration that has been read or made already."""
    views = _chosen(source, names)
    _check_rig(source, [view.camera for view in views])
    with ignored_warnings(Image.DecompressionBombWarning):  # images.MAX_PIXELS is the limit here
        headers = [_matching_header(view) for view in views]
        loaded = _load_all(views, headers, max_size, progress)
    notes = [*source.notes, *_notes(views, headers)]
    return Capture(tuple(loaded), source.path, source.format, tuple(notes), source.mm_per_unit)


def _chosen(source: CaptureSource, names: Sequence[str] | None) -> tuple[ViewSource, ...]:
    """The views to load, in the order of ``names``."""
    views = source.views
    if names is not None:
        known = {view.name: view for view in views}
        check_names(names, list(known), path=source.path)
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
    """Check that the cameras have different places and directions."""
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
    """The photo's header, after checking that its size, as stored or upright, is the camera's."""
    header = read_header(view.image_path)
    size = _size_of(view.camera)
    turned = header.orientation != 1
    if size not in (header.size, header.upright_size):
        exif = (
            f", upright {_times(header.upright_size)} (EXIF orientation {header.orientation})"
            if turned
            else ""
        )
        raise CaptureError(
            f"the image is {_times(header.size)}{exif}, but its camera was calibrated at {_times(size)}",
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
    """Decode and undistort the views, with one thread per core."""
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
    pixels, mask = _decode(view, header)
    if view.mask_path is None and mask is not None and mask.all():
        mask = None  # an opaque alpha channel is no mask
    camera = view.camera
    factor = max_size / max(_size_of(camera))
    if factor < 1:
        camera = camera.scaled(factor)
        pixels = cv2.resize(pixels, _size_of(camera), interpolation=cv2.INTER_AREA)
        if mask is not None:
            mask = cv2.resize(mask.astype(np.float32), _size_of(camera), interpolation=cv2.INTER_AREA) >= 0.5
    with refused(view.image_path, f"check the calibration of view {view.name}"):
        made = make_view(view.name, as_float(pixels), camera, mask)
    return replace(made, image_path=view.image_path, full_size=view if factor < 1 else None)


def make_view(
    name: str, photo: NDArray[np.float32], camera: Camera, mask: NDArray[np.bool_] | None = None
) -> View:
    """A view from arrays: the photo and its mask undistorted, where the camera has a lens.

    Args:
        name: unique in the capture.
        photo: (H, W, 3) RGB float32 in [0, 1], as the camera took it.
        camera: of the photo's size; pixel centres at integers.
        mask: (H, W), True on the subject.

    Raises:
        ValueError: a shape or a type is another one, or the lens leaves nothing of the image.
    """
    if camera.lens is not None:
        View(name, photo, replace(camera, lens=None), mask)  # checks shapes and types
        camera, where = camera.undistorted()
        photo, mask = undistort_pixels(photo, mask, where)
        np.clip(photo, 0, 1, out=photo)
    return View(name, photo, camera, mask)


def undistort_camera(view: ViewSource) -> tuple[Camera, NDArray[np.float32]]:
    """The pinhole camera that a view is undistorted to, and where its pixels come from, (H, W, 2).

    Raises:
        CaptureError: the lens leaves nothing of the image.
    """
    with refused(view.image_path, f"check the calibration of view {view.name}"):
        return view.camera.undistorted()


def undistort_pixels(
    pixels: NDArray, mask: NDArray[np.bool_] | None, where: NDArray[np.float32]
) -> tuple[NDArray, NDArray[np.bool_] | None]:
    """(H, W, 3) pixels and (H, W) mask, looked up at ``where`` of :func:`undistort_camera`.

    Lanczos keeps the skin's fine grain. It overshoots at hard edges: OpenCV clips integers, but not floats.
    """
    pixels = cv2.remap(pixels, where, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    if mask is not None:
        mask = cv2.remap(mask.astype(np.uint8), where, None, cv2.INTER_NEAREST).astype(bool)
    return pixels, mask


def read_full_size(view: ViewSource) -> Pixels:
    """(H, W, 3) RGB: a photo at the size that it was calibrated at, upright, not undistorted.

    Raises:
        CaptureError: the file is missing, or is no longer the photo that was calibrated.
    """
    return read_with_mask(replace(view, mask_path=None))[0]


def read_with_mask(view: ViewSource) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """As :func:`read_full_size`, with (H, W), True on the subject: the mask's file, or the alpha channel.

    Raises:
        CaptureError: a file is missing, or is no longer the photo that was calibrated.
    """
    with ignored_warnings(Image.DecompressionBombWarning):
        return _decode(view, _matching_header(view))


def _decode(view: ViewSource, header: ImageHeader) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """Pixels and mask, or alpha channel, turned as in the calibration."""
    pixels, mask = decode_photo(view.image_path)
    if _is_turned(header, view.camera):
        pixels = turn_upright(pixels, header.orientation)
        mask = None if mask is None else turn_upright(mask, header.orientation)
    if view.mask_path is not None:
        mask, header = decode_mask(view.mask_path), read_header(view.mask_path)
        if header.size != _size_of(view.camera):
            mask = turn_upright(mask, header.orientation)
    return pixels, mask


def _is_turned(header: ImageHeader, camera: Camera) -> bool:
    """Whether the calibration is of the photo as EXIF turns it, and not as it is stored."""
    return header.orientation != 1 and header.size != _size_of(camera)


def _notes(views: Sequence[ViewSource], headers: Sequence[ImageHeader]) -> list[str]:
    """What was adapted, one sentence each."""
    pairs = [pair for pair in zip(views, headers, strict=True) if pair[1].orientation != 1]
    turned, kept = parted(pairs, lambda pair: _is_turned(pair[1], pair[0].camera))
    return notes_on(
        {
            "turned upright by their EXIF orientation, as they were calibrated": [v.name for v, _ in turned],
            "EXIF orientation not applied, as the calibration is of the stored pixels": [
                view.name for view, _ in kept
            ],
        }
    )


def _size_of(camera: Camera) -> tuple[int, int]:
    return camera.width, camera.height


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
