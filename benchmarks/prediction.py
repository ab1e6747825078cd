"""How well a texture predicts a photo that it was not made from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import erode, uv_to_pixels
from mesoface.uvd.photos import typical_footprint

# Pixels left off at outlines, where face and background mix in one pixel.
_OUTLINE_PX = 2


@dataclass(frozen=True, eq=False)
class FaceInPhoto:
    """Where a photo shows the face.

    Args:
        photo: (h, w, 3) float32, cut to the face.
        uv: (h, w, 2) what each pixel shows.
        shown: (h, w) whether it shows the face.
        footprint: mm a pixel.
    """

    photo: NDArray[np.float32]
    uv: NDArray[np.float64]
    shown: NDArray[np.bool_]
    footprint: float


def find_face(mesh: Mesh, view: View, occluder: Mesh) -> FaceInPhoto:
    """Cast a ray through every pixel of ``view`` against the fine ``mesh`` (with UVs) and its occluder."""
    assert mesh.uv is not None
    pixels, _ = view.camera.project(mesh.vertices)
    last = (view.camera.width - 1, view.camera.height - 1)
    x0, y0 = np.clip(np.floor(pixels.min(0)), 0, last).astype(int)
    x1, y1 = np.clip(np.ceil(pixels.max(0)), 0, last).astype(int) + 1
    camera = view.camera.cropped(x0, y0, x1 - x0, y1 - y0)
    hits, other = RayCaster(mesh).render(camera), RayCaster(occluder).render(camera)
    shape = (camera.height, camera.width)
    shown = (hits.hit & (hits.distance < other.distance)).reshape(shape)
    if view.mask is not None:
        shown &= view.mask[y0:y1, x0:x1]
    return FaceInPhoto(
        photo=view.image[y0:y1, x0:x1],
        uv=hits.interpolate(mesh.uv, mesh.faces).reshape(*shape, 2),
        shown=erode(shown, _OUTLINE_PX),
        footprint=typical_footprint([view.camera], mesh.vertices.mean(0)),
    )


def predict(face: FaceInPhoto, color: NDArray[np.float32], texel_mm: float) -> NDArray[np.float32]:
    """(h, w, 3) the photo as the texture ``color`` (T, T, 3) has it, with the best gain for each channel."""
    # A pixel is the mean over a square (standard deviation 0.29 of its side), not a point.
    blurred = cv2.GaussianBlur(color, (0, 0), max(0.3 * face.footprint / texel_mm, 0.1))
    where = uv_to_pixels(face.uv, len(color)).astype(np.float32)
    seen = cv2.remap(blurred, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    a, b = seen[face.shown].astype(np.float64), face.photo[face.shown]
    gain = (a * b).sum(0) / np.maximum((a * a).sum(0), 1e-12)
    return (seen * gain).astype(np.float32)


def psnr(face: FaceInPhoto, predicted: NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio over the face, dB; full scale is 1."""
    squared = (predicted - face.photo)[face.shown].astype(np.float64) ** 2
    return float(-10 * np.log10(squared.mean()))
