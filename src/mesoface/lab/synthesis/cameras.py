"""Photos without a sensor: linear radiance of a lit scene through a camera, by ray casting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.lab.synthesis.scene import LitScene

_FRESNEL_SKIN = 0.028
_BAND_RAYS = 400_000  # rays cast at once: bounds the memory


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


def ray_grid(camera: Camera) -> Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    """A quick twin of ``camera.rays`` for pixels on a grid.

    A lens is smooth, so its inverse is computed every 16 pixels and splined between, to better than 1e-6 px.

    Returns:
        function of (C,) columns and (R,) rows, both ascending → (R·C, 3) unit directions, row by row.
    """
    x = np.linspace(-0.5, camera.width - 0.5, camera.width // 16 + 5)
    y = np.linspace(-0.5, camera.height - 0.5, camera.height // 16 + 5)
    known = camera.rays(np.stack(np.meshgrid(x, y), -1))
    splines = [RectBivariateSpline(y, x, known[..., k]) for k in range(3)]

    def rays(columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return unit(np.stack([spline(rows, columns) for spline in splines], -1).reshape(-1, 3))

    return rays


def _radiance(
    scene: LitScene, camera: Camera, directions: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, 3) radiance, 0 where nothing is, and (N,) whether something is."""
    hits = scene.caster.cast(camera.center, directions)
    hit = hits.hit
    corners = scene.caster.mesh.faces[hits.face[hit]]
    values = np.einsum("nk,nkc->nc", hits.bary[hit].astype(np.float32), scene.values[corners])
    normal, view = values[:, 3:6], -directions[hit].astype(np.float32)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    colour = np.zeros((len(directions), 3), np.float32)
    colour[hit] = values[:, :3] + _highlights(scene, normal, view, values[:, 6], values[:, 7], values[:, 8:])
    return colour, hit


def _highlights(
    scene: LitScene,
    normal: NDArray[np.float32],
    view: NDArray[np.float32],
    gloss: NDArray[np.float32],
    sharpness: NDArray[np.float32],
    visible: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(N, 3) normalised Blinn–Phong highlights with Schlick's Fresnel term."""
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
    """Columns and rows (x0, y0, x1, y1) outside of which nothing of the scene is seen."""
    pixels, _ = camera.project(scene.caster.mesh.vertices[::7])
    if not np.isfinite(pixels).all():
        return 0, 0, camera.width, camera.height
    low, high = pixels.min(0) - 4, pixels.max(0) + 5
    x0, y0 = np.clip(np.floor(low), 0, [camera.width, camera.height]).astype(int)
    x1, y1 = np.clip(np.ceil(high), 0, [camera.width, camera.height]).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _backdrop(scene: LitScene, camera: Camera) -> NDArray[np.float32]:
    """A plain wall, a little darker towards the edges."""
    x = (np.arange(camera.width) / camera.width - 0.5)[None, :, None]
    y = (np.arange(camera.height) / camera.height - 0.45)[:, None, None]
    return (scene.lighting.backdrop * (1 - 0.5 * (x**2 + y**2))).astype(np.float32)
