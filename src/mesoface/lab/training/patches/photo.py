"""Photos of a patch: what its cameras see of it, flaws of photos, and occluders.

The rays of a camera meet a height field by a march on few rays, then secants on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.camera import Camera
from mesoface.lab.synthesis.cameras import defocus, expose, noise_strength
from mesoface.lab.synthesis.damage import disturb, process
from mesoface.lab.synthesis.scene import Lighting, lights_turned
from mesoface.lab.synthesis.settings import PhoneSettings, SynthesisSettings
from mesoface.lab.training.patches.fields import log_uniform, waves
from mesoface.lab.training.patches.surface import SAMPLES, Gloss, HeightField, Scale, highlights

# One ray of so many in both directions is marched along the smoothed surface.
_STRIDE = 4
_MOST_STEPS = 64
# Rays rise at least so much per unit of length: those that graze the plane would run on forever.
_FLATTEST = 0.03


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays down to a height field: at height z they are at ``start + z · lean``. All in samples.

    Args:
        start: (2, h, w) float32 columns and rows at z = 0.
        lean: (2, h, w) float32 columns and rows per sample of height.
    """

    start: NDArray[np.float32]
    lean: NDArray[np.float32]

    @classmethod
    def of(cls, camera: Camera, heights: HeightField, x: NDArray, y: NDArray) -> Rays:
        """Rays through the pixels at columns ``x`` (w,) and rows ``y`` (h,) of a camera above the field."""
        inverse = camera.R.T @ np.linalg.inv(camera.K)
        dx, dy, dz = (row[0] * x[None] + row[1] * y[:, None] + row[2] for row in inverse)
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        dz = np.minimum(dz, -_FLATTEST * length)
        center = camera.center / heights.spacing
        middle = (heights.size - 1) / 2
        lean = np.stack([dx / dz, -dy / dz])
        above = np.array([middle + center[0], middle - center[1]]).reshape(2, 1, 1)
        return cls((above - center[2] * lean).astype(np.float32), lean.astype(np.float32))

    def at(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """(2, h, w) columns and rows at height ``z`` (h, w), samples."""
        return self.start + z * self.lean


def look_up(values: NDArray[np.float32], at: NDArray[np.float32], border: int) -> NDArray[np.float32]:
    """Bilinear ``values`` (n, n[, C]) at (2, h, w) columns and rows; ``border``: OpenCV's rule for beyond."""
    return cv2.remap(values, at[0], at[1], cv2.INTER_LINEAR, borderMode=border)


def first_hits(camera: Camera, heights: HeightField, supersample: int) -> NDArray[np.float32]:
    """Where each ray first meets the surface.

    Args:
        camera: above the field, its size a multiple of four.
        heights: the surface.
        supersample: rays per pixel and axis.

    Returns:
        (2, s·H, s·W) columns and rows of the height field.
    """
    z = heights.z / np.float32(heights.spacing)
    smooth = cv2.GaussianBlur(z, (0, 0), SAMPLES)
    x, y = ((np.arange(n * supersample) + 0.5) / supersample - 0.5 for n in (camera.width, camera.height))
    rays = Rays.of(camera, heights, x, y)
    few = Rays.of(camera, heights, *(line.reshape(-1, _STRIDE).mean(1) for line in (x, y)))
    coarse = cv2.resize(_march(few, smooth), rays.start.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    height = _refine(rays, z, coarse, float(np.abs(z - smooth).max()) + 0.5 * SAMPLES)
    return rays.at(height)


def _march(rays: Rays, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) height, samples, at which the rays first dip below ``z`` (n, n)."""
    top, bottom = float(z.max()) + 0.5, float(z.min()) - 0.5
    lean = float(np.hypot(*rays.lean).max())
    count = int(np.clip((top - bottom) * lean / (2 * SAMPLES), 6, _MOST_STEPS))
    return _descend(rays, z, np.full_like(rays.start[0], top), (top - bottom) / count, count)


def _refine(
    rays: Rays, z: NDArray[np.float32], guess: NDArray[np.float32], band: float
) -> NDArray[np.float32]:
    """(h, w) height, samples, of the first meeting with ``z`` from ``band`` above ``guess`` down."""
    lean = float(np.median(np.hypot(*rays.lean)))
    count = int(np.clip(2 * band * lean / (2 * SAMPLES), 2, 8))
    return _descend(rays, z, guess + np.float32(band), 2 * band / count, count, secants=3)


def _descend(
    rays: Rays, z: NDArray[np.float32], start: NDArray[np.float32], step: float, count: int, secants: int = 1
) -> NDArray[np.float32]:
    """Go down from ``start`` in ``count`` steps; in the one that crosses ``z``, close in by regula falsi.

    The weight of an end that stays is halved (the Illinois rule), so that both ends close in.
    """

    def clearance(height: NDArray[np.float32]) -> NDArray[np.float32]:
        return height - look_up(z, rays.at(height), cv2.BORDER_REPLICATE)

    high, low = start, start
    above = below = clearance(start)
    for k in range(1, count + 1):
        at = start - np.float32(k * step)
        clear = clearance(at)
        going = below > 0  # not crossed yet
        high, above = np.where(going, low, high), np.where(going, below, above)
        low, below = np.where(going, at, low), np.where(going, clear, below)
    for _ in range(secants):
        share = np.clip(above / np.maximum(above - below, 1e-6), 0, 1)
        at = high + share * (low - high)
        clear = clearance(at)
        over = clear > 0
        high, above = np.where(over, at, high), np.where(over, clear, 0.5 * above)
        low, below = np.where(over, low, at), np.where(over, 0.5 * below, clear)
    share = np.clip(above / np.maximum(above - below, 1e-6), 0, 1)
    return high + share * (low - high)


# Even the sharpest lens and sensor blur by this much, pixels.
_SHARPEST = 0.35


@dataclass(frozen=True, eq=False)
class PatchSkin:
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


SKIN_CONTRAST = (1 / 3, 1.0)
"""Contrast of skin as it is in photos from life, relative to skin that is drawn."""


def draw_software(rng: np.random.Generator, fine: float) -> PhoneSettings:
    """What a phone's software does to its photos; half of them are frames of a video.

    Args:
        rng: source of chance.
        fine: size of the phone's pixels in pixels of the photos that are processed, at most 1.
    """
    video = rng.uniform() < 0.5
    # The error of a mean of pixels is as much smaller as its grain is finer.
    qp = rng.uniform(20, 36) + 6 * np.log2(fine)
    return PhoneSettings(
        denoising=rng.uniform(0, 0.8) * fine * (rng.uniform() < 0.6),
        tone_mapping=rng.uniform(0, 0.8),
        sharpening=rng.uniform(0, 1.5) * fine * (rng.uniform() < 0.6),
        video_qp=max(float(qp), 0.0) if video else 0.0,
    )


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
    def draw_phone(cls, rng: np.random.Generator, scale: Scale) -> Flaws:
        """Those of a phone in the hand: its noise and cameras, and what its software does to the photos."""
        fine = scale.shrink
        software = draw_software(rng, fine)
        quality = None if software.video_qp > 0 else round(98 - (98 - rng.uniform(40, 95)) * fine)
        sensor = SynthesisSettings(
            **software.model_dump(exclude_defaults=True),
            noise=noise_strength(log_uniform(rng, 0.8, 7) * fine),
            exposure_jitter=rng.uniform(0, 0.2),
            white_balance_jitter=rng.uniform(0, 0.06),
            blur_px=rng.uniform(0.2, 1.2) * fine,
            calibration_px=min(abs(rng.normal(0, 0.6)), 1.5) * fine,
            skin_contrast=rng.uniform(*SKIN_CONTRAST),
            highlights_deg=rng.uniform(0, 15) * (rng.uniform() < 0.5),
            movement_mm=rng.uniform(0, 0.25) * (rng.uniform() < 0.5),
            rolling_px=rng.uniform(0, 0.6) * fine,
            motion_px=rng.uniform(0, 1.6) ** 2 * fine,
        )
        return cls(sensor, quality, 0.15)

    @classmethod
    def none(cls) -> Flaws:
        """Ideal photos, but for eight bits a channel."""
        sensor = SynthesisSettings(noise=0, exposure_jitter=0, white_balance_jitter=0)
        return cls(sensor, None, 0.0)


def take_photo(
    skin: PatchSkin, camera: Camera, gain: float, flaws: Flaws, pixel_mm: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W, 3) sRGB in [0, 1]: one photo.

    Args:
        skin: what is photographed.
        camera: above it, in its frame.
        gain: exposure common to all photos.
        flaws: of the photo.
        pixel_mm: what a pixel spans.
        rng: source of chance.
    """
    if flaws.sensor.highlights_deg > 0:
        skin = replace(skin, lighting=lights_turned(skin.lighting, flaws.sensor.highlights_deg, rng))
    seen = cv2.GaussianBlur(_radiance(skin, camera), (0, 0), _SHARPEST, borderType=cv2.BORDER_REPLICATE)
    seen = disturb(seen, flaws.sensor, pixel_mm, rng)
    photo = expose(defocus(seen, flaws.sensor.blur_px, rng), gain, flaws.sensor, rng)
    photo = process(photo, flaws.sensor, rng)
    if flaws.jpeg_quality is not None:
        _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, flaws.jpeg_quality])
        photo = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return photo.astype(np.float32) / 255


def _radiance(skin: PatchSkin, camera: Camera) -> NDArray[np.float32]:
    """(H, W, 3) linear radiance, the mean over each pixel."""
    spacing = skin.heights.spacing
    pixel = np.linalg.norm(camera.center) / camera.K[0, 0]
    # Rays no further apart than about half a texel on the skin, which lies at a slant.
    facing = camera.center[2] / np.linalg.norm(camera.center)
    rays_per_pixel = pixel / (spacing * SAMPLES * 0.5 * max(np.sqrt(facing), 0.5))
    supersample = int(np.clip(np.ceil(rays_per_pixel), 2, 4))
    at = first_hits(camera, skin.heights, supersample)
    radiance = look_up(skin.radiance, at, cv2.BORDER_REFLECT_101)
    if skin.gloss.strength > 0:
        normals = look_up(skin.normals, at, cv2.BORDER_REFLECT_101)
        view = (camera.center / np.linalg.norm(camera.center)).astype(np.float32)
        radiance += highlights(normals, view, skin.gloss, skin.lighting)
    return cv2.resize(radiance, (camera.width, camera.height), interpolation=cv2.INTER_AREA)


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
        as ray casting against a base mesh finds it, to within a few texels.
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
