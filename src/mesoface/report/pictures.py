"""The report's pictures: photos with landmarks or against the face, maps in false colour, shaded meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.captures.capture import View
from mesoface.files.images import as_uint8
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import ReliefMaps, shade, turntable_cameras
from mesoface.rendering.false_color import add_legend, colorize
from mesoface.results.face import Face
from mesoface.texture import Texture
from mesoface.uvd.maps import sample_map

RGB = NDArray[np.uint8]

_TRUSTED, _DOUBTED = np.array([74, 222, 128.0]), np.array([248, 113, 113.0])
ANGLES = {
    "front": 0.0,
    "three-quarter, from the right": -40.0,
    "three-quarter, from the left": 40.0,
    "side": 85.0,
}
"""Directions from which faces are shown: degrees to the subject's left."""
LARGEST = 0.1
"""Difference at the colour map's end, share of the photo's range."""
_HEIGHT = 300  # of the face in the pictures, pixels
_TEXELS = 512  # side of the texture they are drawn with: about a pixel a texel
_MARGIN = 0.06  # around the face, share of its size


def with_landmarks(
    image: NDArray[np.float32],
    points: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    *,
    height: int = 360,
) -> RGB:
    """A thumbnail of a photo with its landmarks drawn in.

    Args:
        image: (H, W, 3) in [0, 1].
        points: (L, 2) pixels, NaN where there is none.
        weights: (L,) in [0, 1]: green is full weight, red is none; None for all green.
        height: of the thumbnail, pixels.
    """
    factor = height / image.shape[0]
    size = (max(1, round(image.shape[1] * factor)), height)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    canvas = np.ascontiguousarray(as_uint8(small))
    weights = np.ones(len(points)) if weights is None else np.clip(np.nan_to_num(weights), 0, 1)
    centers = ((points + 0.5) * factor - 0.5) * 16  # cv2 takes fixed-point numbers with 4 fractional bits
    for (x, y), weight in zip(centers, weights, strict=True):
        if np.isfinite(x) and np.isfinite(y) and max(abs(x), abs(y)) < 1e6:
            color = tuple(float(c) for c in _DOUBTED + weight * (_TRUSTED - _DOUBTED))
            cv2.circle(canvas, (round(x), round(y)), 18, color, -1, cv2.LINE_AA, 4)
    return canvas


def map_picture(
    values: ArrayLike,
    valid: NDArray[np.bool_] | None,
    label: str,
    *,
    limits: tuple[float, float],
    colormap: str = "turbo",
    width: int = 560,
) -> RGB:
    """A UV map in false colour with a legend; texels that are not ``valid`` are grey.

    Args:
        values: (H, W).
        valid: (H, W), or None where all finite values are.
        label: what the numbers are, with their unit; plain ASCII.
        limits: values at the colour map's ends.
        colormap: see :func:`mesoface.rendering.false_color.colorize`.
        width: of the picture, pixels.
    """
    values = np.asarray(values, np.float64)
    known = values if valid is None else np.where(valid, values, np.nan)
    picture = colorize(known, limits, colormap).astype(np.float32)
    size = (width, max(1, round(width * values.shape[0] / values.shape[1])))
    picture = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if width < values.shape[1] else cv2.INTER_NEAREST
    )
    picture = add_legend(picture, limits, label, colormap=colormap)
    return as_uint8(picture)


def texture_picture(texture: Texture, *, width: int = 560) -> RGB:
    """The texture; what was filled in is paler."""
    size = (width, width)
    color = cv2.resize(texture.color, size, interpolation=cv2.INTER_AREA)
    seen = cv2.resize(texture.seen.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
    picture = color * (0.4 + 0.6 * seen) + 0.6 * (1 - seen)
    return as_uint8(picture)


def symmetric_limits(values: ArrayLike, valid: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Limits for a signed map: zero in the middle, 99 % of the values inside."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers) if valid is None else valid & np.isfinite(numbers)]
    high = float(np.percentile(np.abs(numbers), 99)) if numbers.size else 1.0
    return -max(high, 1e-3), max(high, 1e-3)


def face_views(
    face: Face,
    mesh: Mesh | RayCaster,
    relief: ReliefMaps | None = None,
    angles: Sequence[str] = tuple(ANGLES),
    size: tuple[int, int] = (480, 640),
) -> list[tuple[str, RGB]]:
    """Clay pictures of a ``mesh`` of ``face`` from the front and the sides, each with its name.

    Args:
        face: its facial mask frames the pictures, so that those of several meshes can be compared.
        mesh: what is drawn.
        relief: normals of the detail finer than the mesh, see :func:`mesoface.rendering.clay.shade`.
        angles: which of :data:`ANGLES`.
        size: (width, height) pixels.
    """
    caster = mesh if isinstance(mesh, RayCaster) else RayCaster(mesh)
    frame, axes = face.base.select_faces(face.fit.model.topology.facial), face.fit.rotation
    directions = [ANGLES[name] for name in angles]
    cameras = turntable_cameras(frame, forward=axes[:, 2], up=axes[:, 1], angles=directions, size=size)
    pictures = (shade(caster, camera, relief=relief) for camera in cameras)
    return [(name, as_uint8(picture)) for name, picture in zip(angles, pictures, strict=True)]


@dataclass(frozen=True, eq=False)
class PhotoError:
    """One view.

    Args:
        view: its name.
        psnr: over the visible face, after one gain a colour channel, dB; NaN where it is not visible.
        picture: (H, 3 W, 3) uint8: photo, rendering in its place, difference in false colour.
    """

    view: str
    psnr: float
    picture: RGB


def photo_errors(views: Sequence[View], caster: RayCaster, texture: Texture) -> list[PhotoError]:
    """Render a textured surface into every view and compare it with the photo, at thumbnail size.

    Exposures and white balances differ, so the rendering gets one gain per colour channel first. Texels that
    no photo shows are left out.

    Args:
        views: photos with their cameras.
        caster: of a mesh with one UV a vertex.
        texture: in the mesh's UVs.
    """
    size = min(_TEXELS, texture.size)
    colors = np.dstack([texture.color, texture.seen.astype(np.float32)])
    colors = cv2.resize(colors, (size, size), interpolation=cv2.INTER_AREA)
    return [_compare(caster, colors, view) for view in views]


def _compare(caster: RayCaster, texture: NDArray[np.float32], view: View) -> PhotoError:
    """One view; ``texture`` (T, T, 4) holds the colour and where it was seen."""
    photo, camera = _framed(view, caster.mesh.vertices)
    hits = caster.render(camera)
    mesh = caster.mesh
    assert mesh.uv is not None
    sampled = sample_map(texture, hits.interpolate(mesh.uv, mesh.faces)).reshape(*photo.shape[:2], 4)
    # Through an open mouth a ray may hit the inside of a cheek, which has no colour.
    a, b, c = mesh.vertices[mesh.faces[hits.face].T]
    rays = camera.rays(camera.pixel_grid()).reshape(-1, 3)
    facing = np.einsum("nk,nk->n", np.cross(b - a, c - a), rays) < 0
    shown = (hits.hit & facing).reshape(photo.shape[:2]) & (sampled[..., 3] > 0.5)
    color, truth = sampled[shown][:, :3], photo[shown]
    gain = (color * truth).sum(0) / np.maximum((color**2).sum(0), 1e-9)
    rendering = photo.copy()
    rendering[shown] = color * gain
    difference = np.abs(rendering - photo)
    psnr = -10 * np.log10(max(float((difference[shown] ** 2).mean()), 1e-10)) if shown.any() else float("nan")
    false = colorize(difference.mean(-1), (0, LARGEST), "magma")
    false = np.where(shown[..., None], false, 0.25 + 0.5 * photo.mean(-1, keepdims=True))
    panels = np.hstack([photo, rendering, false])
    return PhotoError(view.name, psnr, as_uint8(panels))


def _framed(view: View, points: NDArray[np.float64]) -> tuple[NDArray[np.float32], Camera]:
    """The photo cut to where ``points`` (N, 3) are in it and scaled, and its camera."""
    pixels, depth = view.camera.project(points)
    pixels = pixels[depth > 0]
    size = np.array([view.camera.width, view.camera.height])
    low, high = (np.array([0, 0]), size) if not len(pixels) else (pixels.min(0), pixels.max(0) + 1)
    margin = _MARGIN * (high - low)
    low = np.clip(np.floor(low - margin), 0, size - 1).astype(int)
    high = np.maximum(np.clip(np.ceil(high + margin), 0, size).astype(int), low + 1)
    left, top, right, bottom = (int(x) for x in (*low, *high))
    camera = view.camera.cropped(left, top, right - left, bottom - top).scaled(_HEIGHT / (bottom - top))
    cut = view.image[top:bottom, left:right]
    photo = cv2.resize(cut, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return photo.reshape(camera.height, camera.width, 3), camera
