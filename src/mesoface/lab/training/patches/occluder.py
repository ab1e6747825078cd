"""Something that stands before a camera and hides a part of the patch from it: a nose, hair, a hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.lab.training.patches.fields import waves


def hide_part(
    photo: NDArray[np.float32], camera: Camera, position: NDArray, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put an occluder with a wavy edge over one side of a photo.

    Args:
        photo: (H, W, 3) sRGB.
        camera: of the photo.
        position: (T, T, 3) of the patch, mm.
        rng: source of chance.

    Returns:
        the photo, and (T, T) in [0, 1] how well the camera is believed to see each texel past the occluder:
        as ray casting against a base mesh tells it, only to a few texels.
    """
    height, width = photo.shape[:2]
    pixels, _ = camera.project(position.astype(np.float64))
    angle = rng.uniform(0, 2 * np.pi)
    across = np.array([np.cos(angle), np.sin(angle)])
    edge = float(np.percentile(pixels @ across, rng.uniform(5, 60)))
    n = 128
    wavy = 6 * waves(rng, n, shortest=n / 4, longest=n, slope=3)
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    distance = x * np.float32(across[0]) + y * np.float32(across[1]) - np.float32(edge)
    distance += cv2.resize(wavy, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip(0.5 - distance / np.float32(rng.uniform(0.8, 4)), 0, 1)[..., None]
    tone = photo.mean((0, 1)) * np.float32(rng.uniform(0.2, 1.3))
    texture = 1 + np.float32(rng.uniform(0, 0.2)) * waves(rng, n, shortest=6, longest=n, slope=2)
    occluder = np.clip(tone * cv2.resize(texture, (width, height))[..., None], 0, 1)
    photo = photo + cover * (occluder - photo)

    texel = float(np.median(np.linalg.norm(np.diff(pixels, axis=1), axis=-1)))
    believed = pixels @ across - edge + texel * rng.normal(0, 2)
    hidden = (believed < 0).astype(np.float32)
    return photo, 1 - cv2.GaussianBlur(hidden, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
