"""A ring of cameras round the front of a face."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mesoface.camera import Camera, OpenCVLens, look_at
from mesoface.synthesis.settings import SynthesisSettings

# How much of the picture's height (and at most of its width) the face fills.
_FILL_HEIGHT, _FILL_WIDTH = 0.66, 0.80
_ELEVATIONS = np.deg2rad([-9.0, 7.0, 16.0])


def make_rig(
    target: ArrayLike,
    face_height: float,
    face_width: float,
    settings: SynthesisSettings,
    rng: np.random.Generator,
) -> tuple[Camera, ...]:
    """Cameras on an arc, from the subject's right to the left, all looking at the face.

    Args:
        target: (3,) the middle of the face; +z is its front, +y up, mm.
        face_height: mm from chin to hairline.
        face_width: mm from ear to ear, or front to back if that is more.
        settings: views, picture size, spread, distance, lens.
        rng: jitter of placement, focal length, principal point, roll and lens.

    Returns:
        One camera a view.
    """
    target = np.asarray(target, np.float64)
    half = np.deg2rad(settings.spread_deg) / 2
    azimuths = np.linspace(-half, half, settings.views)
    step = azimuths[1] - azimuths[0]
    cameras = []
    for i, azimuth in enumerate(azimuths):
        ends = i in (0, settings.views - 1)
        azimuth += 0.0 if ends else rng.uniform(-0.15, 0.15) * step
        elevation = _ELEVATIONS[i % len(_ELEVATIONS)] + rng.uniform(-0.03, 0.03)
        distance = settings.distance_mm * rng.uniform(0.97, 1.03)
        direction = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        roll = rng.normal(0, 0.02)
        up = np.array([np.sin(roll), np.cos(roll), 0.0])
        R, t = look_at(target + distance * direction, target + rng.normal(0, 3.0, 3), up)
        fit = min(_FILL_HEIGHT * settings.height / face_height, _FILL_WIDTH * settings.width / face_width)
        focal = fit * distance * rng.uniform(0.98, 1.02)
        cx = (settings.width - 1) / 2 + rng.normal(0, 0.008) * settings.width
        cy = (settings.height - 1) / 2 + rng.normal(0, 0.008) * settings.height
        K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        cameras.append(
            Camera(K, R, t, settings.width, settings.height, _lens(rng) if settings.lens else None)
        )
    return tuple(cameras)


def _lens(rng: np.random.Generator) -> OpenCVLens:
    """A mild barrel lens, k1 k2 p1 p2 k3, as portrait lenses have."""
    k1, k2 = rng.normal(-0.08, 0.02), rng.normal(0.05, 0.02)
    p1, p2 = rng.normal(0, 4e-4, 2)
    return OpenCVLens((float(k1), float(k2), float(p1), float(p2), 0.0))
