"""Photos at the scale of the texels: cut to the face, and no finer than what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.captures.load import read_full_size, undistort_pixels
from mesoface.geometry.camera import Camera


def pixel_footprint(cameras: Sequence[Camera], center: NDArray) -> NDArray[np.float64]:
    """(V,) how many mm one pixel of each camera spans at ``center`` (3,)."""
    return np.array([camera.to_camera(center)[2] / camera.K[0, 0] for camera in cameras])


def typical_footprint(cameras: Sequence[Camera], center: NDArray) -> float:
    """The median of :func:`pixel_footprint`, mm."""
    return float(np.median(pixel_footprint(cameras, center)))


def file_camera(view: View) -> Camera:
    """The camera of the photo as its file has it, lens included, posed as the view is now."""
    if view.full_size is None:
        return view.camera
    full = view.full_size.camera
    return Camera(full.K, view.camera.R, view.camera.t, full.width, full.height, full.lens)


def resample_photo(
    image: NDArray[np.float32],
    camera: Camera,
    points: NDArray,
    texel_mm: float,
    oversample: float,
    reach_mm: float,
) -> tuple[NDArray[np.float32], Camera]:
    """Cut a photo to where ``points`` are, and resample it to the scale of the texels.

    A photo is never enlarged more than twice.

    Args:
        image: (H, W) or (H, W, 3).
        camera: of ``image``.
        points: (N, 3) positions on the base surface, mm.
        texel_mm: distance between texels.
        oversample: pixels per texel that are wanted.
        reach_mm: how far from the base the surface is searched; the cut leaves room for it.

    Returns:
        (h, w) or (h, w, 3) float32 pixels, and the camera that they belong to.
    """
    footprint = camera.to_camera(points.mean(0))[2] / camera.K[0, 0]
    factor = min(oversample * footprint / texel_mm, 2.0)
    pixels, _ = camera.project(points[:: max(1, len(points) // 5000)])
    margin = 16 + (reach_mm + 4 * texel_mm) / footprint
    size = np.array([camera.width, camera.height])
    low = np.clip(np.floor(np.nanmin(pixels, 0) - margin), 0, size - 8).astype(int)
    high = np.clip(np.ceil(np.nanmax(pixels, 0) + margin), low + 8, size).astype(int)
    width, height = high - low
    camera = camera.cropped(low[0], low[1], width, height).scaled(factor)
    image = image[low[1] : high[1], low[0] : high[0]]
    if factor < 1:
        # An area filter alone leaves some aliasing at factors near one.
        image = cv2.GaussianBlur(image, (0, 0), 0.35 / factor)
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    elif factor > 1:
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(image, np.float32), camera


# Pixels a texel: with fewer, foreshortened texels would lose detail.
_OVERSAMPLE = 1.5


def face_photo(view: View, points: NDArray, texel_mm: float) -> tuple[NDArray[np.float32], Camera]:
    """A view's pixels around the face, no finer than the texels need.

    Where the file holds more pixels than the view was loaded with, and the texels can show them, it is
    decoded again; the lens then stays in the camera, so that pixels are interpolated only once.

    Args:
        view: the photo.
        points: (N, 3) the face, mm.
        texel_mm: distance between texels.

    Returns:
        (h, w, 3) float32 RGB in [0, 1], not smaller than the face, and the camera of these pixels.

    Raises:
        CaptureError: the file is no longer what it was when it was loaded.
    """
    center = points.mean(0)
    pixels: NDArray = view.image
    camera, brightest = view.camera, 1.0
    if view.full_size is not None and pixel_footprint([camera], center)[0] * _OVERSAMPLE > texel_mm:
        camera = file_camera(view)
        pixels = read_full_size(view.full_size)
        brightest = float(np.iinfo(pixels.dtype).max)
    # Never enlarged: what looks the pixels up interpolates well.
    oversample = min(_OVERSAMPLE, texel_mm / pixel_footprint([camera], center)[0])
    cut, camera = resample_photo(pixels, camera, points, texel_mm, oversample, reach_mm=2.0)
    return cut / np.float32(brightest), camera


def straighten(
    pixels: NDArray[np.float32], camera: Camera, points: NDArray
) -> tuple[NDArray[np.float32], Camera]:
    """The same pixels without the lens, around the face.

    Args:
        pixels: (h, w[, 3]) around the face, of :func:`face_photo`.
        camera: of these pixels.
        points: (N, 3) the face, mm.

    Returns:
        pixels and their pinhole camera; the arguments where there is no lens.
    """
    if camera.lens is None:
        return pixels, camera
    ideal = replace(camera, lens=None)
    shown, _ = ideal.project(points[:: max(1, len(points) // 5000)])
    low, high = np.nanmin(shown, 0).astype(int) - 16, np.nanmax(shown, 0).astype(int) + 16
    ideal = ideal.cropped(*low, *(high - low))
    grid = ideal.pixel_grid()
    where, _ = camera.project(ideal.center + ideal.rays(grid.reshape(-1, 2)))
    known = np.nan_to_num(where, nan=-1.0).reshape(grid.shape)
    return undistort_pixels(pixels, None, np.asarray(known, np.float32))[0], ideal
