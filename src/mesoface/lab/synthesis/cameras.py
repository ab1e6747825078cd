"""Cameras around a face: where they stand, what they see, and how they expose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.spatial.transform import Rotation

from mesoface.files.images import LUMINANCE, encode_srgb
from mesoface.geometry.camera import Array, Camera, OpenCVLens, look_at
from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.scene import LitScene, towards
from mesoface.lab.synthesis.settings import SynthesisSettings

# Share of the picture's height (and largest share of its width) that the face fills.
_FILL_HEIGHT, _FILL_WIDTH = 0.66, 0.80
_ELEVATIONS = np.deg2rad([-9.0, 7.0, 16.0])
_FRESNEL_SKIN = 0.028
_BAND_RAYS = 400_000  # rays cast at once: bounds the memory
# Noise variance of one pixel at strength 1: shot noise per unit of signal, and read noise; full scale is 1.
_SHOT, _READ = 1.2e-4, 1.5e-6


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
        direction = towards(azimuth, elevation)
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
    """Cameras with the errors of a slightly wrong calibration.

    Each camera is turned about its centre: the projection of ``target`` moves by a normally distributed
    amount of ``error_px`` root mean square. Roll moves the rim of the face by as much, and an error of the
    focal length by half as much.

    Args:
        cameras: the true cameras.
        target: (3,) the middle of the face, mm.
        error_px: pixels.
        rng: source of chance.
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


def render(scene: LitScene, camera: Camera, supersample: int) -> NDArray[np.float32]:
    """Radiance through every pixel, lens included.

    Args:
        scene: lit once, for all cameras.
        camera: with or without a lens.
        supersample: rays per pixel and axis.

    Returns:
        (H, W, 3) float32 linear RGB.
    """
    image = _backdrop(scene, camera)
    x0, y0, x1, y1 = _box(scene, camera)
    if x0 == x1 or y0 == y1:
        return image
    rays = ray_grid(camera)
    offsets = (np.arange(supersample) + 0.5) / supersample - 0.5
    columns = (np.arange(x0, x1)[:, None] + offsets).ravel()
    rows_at_once = max(1, _BAND_RAYS // max(1, len(columns) * supersample))
    for top in range(y0, y1, rows_at_once):
        bottom = min(top + rows_at_once, y1)
        rows = (np.arange(top, bottom)[:, None] + offsets).ravel()
        colour, hit = _radiance(scene, camera, rays(columns, rows))
        shape = (bottom - top, supersample, x1 - x0, supersample)
        cover = hit.reshape(shape).mean((1, 3), dtype=np.float32)[..., None]
        seen = colour.reshape(*shape, 3).mean((1, 3))
        image[top:bottom, x0:x1] = seen + (1 - cover) * image[top:bottom, x0:x1]
    return image


def ray_grid(camera: Camera) -> Callable[[Array, Array], Array]:
    """A fast version of ``camera.rays`` for pixels on a grid.

    A lens is smooth, so its inverse is computed every 16 pixels and splined between, to better than 1e-6 px.

    Returns:
        function of (C,) columns and (R,) rows, both ascending → (R·C, 3) unit directions, row by row.
    """
    x = np.linspace(-0.5, camera.width - 0.5, camera.width // 16 + 5)
    y = np.linspace(-0.5, camera.height - 0.5, camera.height // 16 + 5)
    known = camera.rays(np.stack(np.meshgrid(x, y), -1))
    splines = [RectBivariateSpline(y, x, known[..., k]) for k in range(3)]

    def rays(columns: Array, rows: Array) -> Array:
        return unit(np.stack([spline(rows, columns) for spline in splines], -1).reshape(-1, 3))

    return rays


def _radiance(
    scene: LitScene, camera: Camera, directions: Array
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, 3) radiance, 0 where a ray misses the scene, and (N,) whether it hits."""
    hits = scene.caster.cast(camera.center, directions)
    hit = hits.hit
    corners = scene.caster.mesh.faces[hits.face[hit]]
    values = np.einsum("nk,nkc->nc", hits.bary[hit].astype(np.float32), scene.values[corners])
    normal = values[:, 3:6]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    colour = np.zeros((len(directions), 3), np.float32)
    colour[hit] = values[:, :3] + _highlights(scene, values, -directions[hit].astype(np.float32))
    return colour, hit


def _highlights(
    scene: LitScene, values: NDArray[np.float32], view: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 3) normalised Blinn–Phong highlights with Schlick's Fresnel term.

    ``values`` (N, 8 + L) are as ``scene.values``, normals of unit length; ``view`` (N, 3) is unit and points
    towards the camera.
    """
    normal, gloss, sharpness, visible = values[:, 3:6], values[:, 6], values[:, 7], values[:, 8:]
    total = np.zeros((len(normal), 3), np.float32)
    for k, light in enumerate(scene.lighting.lights):
        direction = light.direction.astype(np.float32)
        half = view + direction
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        # A wide light blurs the highlight: it acts like a rougher surface.
        exponent = sharpness / (1 + 0.5 * sharpness * np.float32(light.spread**2))
        lobe = np.maximum(np.einsum("nc,nc->n", normal, half), 0) ** exponent * (exponent + 8) / 8
        grazing = np.clip(1 - np.einsum("nc,nc->n", view, half), 0, 1) ** 5
        fresnel = _FRESNEL_SKIN + (1 - _FRESNEL_SKIN) * grazing
        facing = np.maximum(normal @ direction, 0)
        total += (gloss * lobe * fresnel * facing * visible[:, k])[:, None] * light.colour.astype(np.float32)
    return total


def _box(scene: LitScene, camera: Camera) -> tuple[int, int, int, int]:
    """Columns and rows (x0, y0, x1, y1) that contain the whole scene."""
    pixels, _ = camera.project(scene.caster.mesh.vertices[::7])
    if not np.isfinite(pixels).all():
        return 0, 0, camera.width, camera.height
    corners = [np.floor(pixels.min(0) - 4), np.ceil(pixels.max(0) + 5)]
    x0, y0, x1, y1 = np.clip(corners, 0, [camera.width, camera.height]).astype(int).ravel().tolist()
    return x0, y0, x1, y1


def _backdrop(scene: LitScene, camera: Camera) -> NDArray[np.float32]:
    """A plain wall, a little darker towards the edges."""
    x = (np.arange(camera.width) / camera.width - 0.5)[None, :, None]
    y = (np.arange(camera.height) / camera.height - 0.45)[:, None, None]
    return (scene.lighting.backdrop * (1 - 0.5 * (x**2 + y**2))).astype(np.float32)


def expose(
    radiance: NDArray[np.float32],
    gain: float,
    settings: SynthesisSettings,
    rng: np.random.Generator,
    grain: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Develop one photo.

    Args:
        radiance: (H, W, 3) linear RGB.
        gain: exposure common to all views.
        settings: jitter and noise.
        rng: source of chance of this view.
        grain: source of the noise if it is not ``rng``: frames of a video have the same exposure and
            different noise.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    exposure = gain * np.exp(rng.normal(0, settings.exposure_jitter))
    balance = np.exp(rng.normal(0, settings.white_balance_jitter, 3) * [1, 0, 1])
    signal = radiance * (exposure * balance).astype(np.float32)
    spread = np.sqrt(settings.noise * (_SHOT * np.maximum(signal, 0) + _READ)).astype(np.float32)
    signal = signal + spread * (grain or rng).standard_normal(signal.shape, np.float32)
    return (encode_srgb(_shoulder(signal)) * 255 + 0.5).astype(np.uint8)


def defocus(radiance: NDArray[np.float32], blur_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 3) the radiance through a slightly defocused lens.

    The blur is a Gaussian, its standard deviation log-normal around ``blur_px`` with a spread of 30 %.
    """
    sigma = blur_px * float(np.exp(rng.normal(0, 0.3)))
    if sigma <= 0:
        return radiance
    return cv2.GaussianBlur(radiance, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def noise_strength(levels: float) -> float:
    """The strength at which a mid-grey's standard deviation in the photo is ``levels`` of 255."""
    grey = 0.18
    slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)  # of the sRGB curve there
    return (levels / 255 / slope) ** 2 / (_SHOT * grey + _READ)


def meter(radiance: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """The gain that brings the pixels ``where`` (H, W) to a mid-tone with little clipping."""
    luminance = radiance[where] @ LUMINANCE
    middle, bright = np.percentile(luminance, [60, 98])
    return float(min(0.30 / middle, 0.75 / bright))


def _shoulder(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highlights above 0.7 roll off smoothly towards 1, as in the tone curve of a camera."""
    knee = np.float32(0.7)
    over = np.maximum(signal - knee, 0)
    return np.minimum(signal, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
