"""Photos as the prepared folder has them: undistorted, the longest side 1296, the photo's own frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View, ViewSource
from mesoface.captures.load import decode_full_size
from mesoface.errors import CaptureError
from mesoface.files.images import as_float
from mesoface.geometry.camera import Camera, OpenCVLens

LONGEST_SIDE = 1296
"""Of a prepared photo, pixels."""


def prepared_photo(view: ViewSource, longest_side: int = LONGEST_SIDE) -> tuple[NDArray[np.uint8], Camera]:
    """One photo scaled and undistorted.

    As published, the frame and the intrinsics stay the photo's own: what a lens pulls in from the rim leaves
    a black margin, what it pushes out is cut. The principal point is scaled about the corner of the first
    pixel, as centres at integers ask for; the published code scales it about its centre, up to half a pixel
    off.

    Args:
        view: of FaceScape's layout.
        longest_side: the photo is scaled to that, enlarged if need be.

    Returns:
        (H, W, 3) uint8 RGB, and its camera without a lens.

    Raises:
        CaptureError: the photo is missing or damaged, or not of its camera's size.
    """
    stored = decode_full_size(view)
    pixels: NDArray[np.uint8] = np.asarray(stored if stored.dtype == np.uint8 else stored >> 8, np.uint8)
    factor = longest_side / max(view.camera.width, view.camera.height)
    camera = view.camera.scaled(factor)
    if factor != 1:
        shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, (camera.width, camera.height), interpolation=shrink)
    if camera.lens is None:
        return pixels, camera
    assert isinstance(camera.lens, OpenCVLens)  # the layout has no other
    source, _ = cv2.initUndistortRectifyMap(
        camera.K, np.array(camera.lens.coefficients), np.eye(3), camera.K, pixels.shape[1::-1], cv2.CV_32FC2
    )
    straight = cv2.remap(pixels, source, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_CONSTANT)
    return straight, replace(camera, lens=None)


def readable_views(views: tuple[ViewSource, ...], longest_side: int) -> tuple[list[View], list[str]]:
    """The views that can be read, scaled and undistorted, and a sentence about each of the others."""
    good, notes = list[View](), list[str]()
    for view in views:
        try:
            pixels, camera = prepared_photo(view, longest_side)
        except CaptureError as error:
            notes.append(f"view {view.name} is left out: {error.message}")
            continue
        good.append(View(view.name, as_float(pixels), camera, image_path=view.image_path))
    return good, notes
