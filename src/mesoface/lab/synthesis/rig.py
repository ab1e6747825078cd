"""A ring of cameras round the front of a face, and how well it is calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera, OpenCVLens, look_at
from mesoface.lab.synthesis.settings import SynthesisSettings

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


def miscalibrate(
    cameras: Sequence[Camera], target: ArrayLike, error_px: float, rng: np.random.Generator
) -> tuple[Camera, ...]:
    """The cameras as a calibration that is a little off would state them.

    Each is turned about its own centre, so that the photo's picture of ``target`` is missed by a random
    amount, normal in both axes and ``error_px`` root mean square in all; rolled by as much at the rim of the
    face; and its focal length is off by half of that there.

    Args:
        cameras: the true ones.
        target: (3,) the middle of what they look at, mm.
        error_px: pixels.
        rng: of the errors.
    """
    off = []
    for camera in cameras:
        focal = float(camera.K[0, 0])
        rim = 0.3 * min(camera.width, camera.height)  # pixels from the middle of the face to its rim
        across = rng.normal(0, error_px / np.sqrt(2), 2) / focal
        roll, stretch = rng.normal(0, error_px / rim), rng.normal(0, 0.5 * error_px / rim)
        # Turned about the axis to the target, which need not be the optical one.
        axis = camera.to_camera(target)
        rotvec = np.array([-across[1], across[0], 0.0]) + roll * axis / np.linalg.norm(axis)
        turn = Rotation.from_rotvec(rotvec).as_matrix()
        K = camera.K.copy()
        K[:2, :2] *= 1 + stretch
        off.append(replace(camera, K=K, R=turn @ camera.R, t=turn @ camera.t))
    return tuple(off)


def _lens(rng: np.random.Generator) -> OpenCVLens:
    """A mild barrel lens, k1 k2 p1 p2 k3, as portrait lenses have."""
    k1, k2 = rng.normal(-0.08, 0.02), rng.normal(0.05, 0.02)
    p1, p2 = rng.normal(0, 4e-4, 2)
    return OpenCVLens((float(k1), float(k2), float(p1), float(p2), 0.0))
