"""Photos of a patch with the flaws that photos have."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.lab.synthesis.cameras import defocus, expose, noise_strength
from mesoface.lab.synthesis.scene import Lighting
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.lab.training.patches.height import HeightField
from mesoface.lab.training.patches.hit import first_hits, look_up
from mesoface.lab.training.patches.light import Gloss, highlights
from mesoface.lab.training.patches.scale import Scale, log_uniform
from mesoface.lab.training.patches.surface import SAMPLES

# Even the sharpest lens and sensor blur by this much, pixels.
_SHARPEST = 0.35


@dataclass(frozen=True, eq=False)
class Skin:
    """A lit surface, ready to be photographed, in the frame of its height field.

    Args:
        heights: (n, n) samples.
        radiance: (n, n, 3) float32 linear RGB, the same to every side.
        normals: (n, n, 3) float32 unit.
        gloss: its shine.
        lighting: the light that it mirrors.
    """

    heights: HeightField
    radiance: NDArray[np.float32]
    normals: NDArray[np.float32]
    gloss: Gloss
    lighting: Lighting


@dataclass(frozen=True)
class Flaws:
    """What the photos of a patch suffer from.

    Args:
        sensor: noise, exposure, white balance, defocus and calibration, of rendered pixels.
        jpeg_quality: 1–100, or None for photos that were never compressed.
        occluder: probability that something stands before one or two of the cameras.
    """

    sensor: SynthesisSettings
    jpeg_quality: int | None
    occluder: float

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: Scale) -> Flaws:
        """Mostly small flaws, sometimes great ones; milder where photos are finer than what is rendered."""
        fine = scale.shrink
        noise = log_uniform(rng, 0.3, 4) if rng.uniform() < 0.75 else rng.uniform(4, 10)
        blur = rng.uniform(0, 0.5) if rng.uniform() < 0.6 else rng.uniform(0.5, 1.2)
        calibration = min(abs(rng.normal(0, 0.2)), 1.0)
        compressed = rng.uniform() < 0.5
        quality = rng.uniform(35, 98)
        return cls(
            SynthesisSettings(
                noise=noise_strength(noise * fine),
                exposure_jitter=rng.uniform(0, 0.25) * (rng.uniform() < 0.7),
                white_balance_jitter=rng.uniform(0, 0.08) * (rng.uniform() < 0.7),
                blur_px=blur * fine,
                calibration_px=calibration * fine,
            ),
            # Compression of pixels that are averaged does less harm.
            round(98 - (98 - quality) * fine) if compressed else None,
            0.15,
        )

    @classmethod
    def none(cls) -> Flaws:
        """Ideal photos, but for eight bits a channel."""
        sensor = SynthesisSettings(noise=0, exposure_jitter=0, white_balance_jitter=0)
        return cls(sensor, None, 0.0)


def take_photo(
    skin: Skin, camera: Camera, gain: float, flaws: Flaws, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W, 3) sRGB in [0, 1]: one photo.

    Args:
        skin: what is photographed.
        camera: above it, in its frame.
        gain: exposure common to all photos.
        flaws: of the photo.
        rng: source of chance.
    """
    seen = cv2.GaussianBlur(_radiance(skin, camera), (0, 0), _SHARPEST, borderType=cv2.BORDER_REPLICATE)
    photo = expose(defocus(seen, flaws.sensor.blur_px, rng), gain, flaws.sensor, rng)
    if flaws.jpeg_quality is not None:
        photo = compressed(photo, flaws.jpeg_quality)
    return photo.astype(np.float32) / 255


def compressed(photo: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """(H, W, 3) the photo after JPEG."""
    _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _radiance(skin: Skin, camera: Camera) -> NDArray[np.float32]:
    """(H, W, 3) linear radiance, the mean over each pixel."""
    spacing = skin.heights.spacing
    pixel = np.linalg.norm(camera.center) / camera.K[0, 0]
    # Rays no further apart than about half a texel on the skin, which lies at a slant.
    facing = camera.center[2] / np.linalg.norm(camera.center)
    rays_per_pixel = pixel / (spacing * SAMPLES * 0.5 * max(np.sqrt(facing), 0.5))
    supersample = int(np.clip(np.ceil(rays_per_pixel), 2, 4))
    column, row = first_hits(camera, skin.heights, supersample)
    radiance = look_up(skin.radiance, column, row, cv2.BORDER_REFLECT_101)
    if skin.gloss.strength > 0:
        normals = look_up(skin.normals, column, row, cv2.BORDER_REFLECT_101)
        view = (camera.center / np.linalg.norm(camera.center)).astype(np.float32)
        radiance += highlights(normals, view, skin.gloss, skin.lighting)
    return cv2.resize(radiance, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
