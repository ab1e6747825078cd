"""The report's pictures: photos with landmarks, maps in false colour, shaded meshes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesoface.files.encode import as_uint8
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import RayCaster
from mesoface.rendering.clay import ReliefMaps, shade, turntable_cameras
from mesoface.rendering.false_color import add_legend, colorize
from mesoface.results.face import Face
from mesoface.texture import Texture

RGB = NDArray[np.uint8]

_TRUSTED, _DOUBTED = np.array([74, 222, 128.0]), np.array([248, 113, 113.0])
ANGLES = {
    "front": 0.0,
    "three-quarter, from the right": -40.0,
    "three-quarter, from the left": 40.0,
    "side": 85.0,
}
"""Directions from which faces are shown: degrees to the subject's left."""


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


def shaded_views(
    mesh: Mesh | RayCaster,
    forward: ArrayLike,
    up: ArrayLike,
    *,
    relief: ReliefMaps | None = None,
    angles: Sequence[str] = tuple(ANGLES),
    frame: Mesh | None = None,
    size: tuple[int, int] = (480, 640),
) -> list[tuple[str, RGB]]:
    """Clay pictures of ``mesh`` from the front and the sides, each with its name.

    Args:
        mesh: what is drawn.
        forward: (3,) direction out of the face.
        up: (3,) direction to the forehead.
        relief: normals of the detail finer than the mesh, see :func:`mesoface.rendering.clay.shade`.
        angles: which of front, three-quarter from the right and from the left, side.
        frame: frames the pictures in place of ``mesh``: for comparisons in the same place.
        size: (width, height) pixels.
    """
    caster = mesh if isinstance(mesh, RayCaster) else RayCaster(mesh)
    cameras = turntable_cameras(
        frame or caster.mesh, forward=forward, up=up, angles=[ANGLES[name] for name in angles], size=size
    )
    pictures = (shade(caster, camera, relief=relief) for camera in cameras)
    return [(name, as_uint8(picture)) for name, picture in zip(angles, pictures, strict=True)]


def face_views(
    face: Face,
    mesh: Mesh | RayCaster,
    relief: ReliefMaps | None = None,
    angles: Sequence[str] = tuple(ANGLES),
    size: tuple[int, int] = (480, 640),
) -> list[tuple[str, RGB]]:
    """:func:`shaded_views` of a ``mesh`` of ``face``, framed as the face."""
    forward, up = face.fit.rotation[:, 2], face.fit.rotation[:, 1]
    frame = face.base.select_faces(face.fit.model.topology.facial)
    return shaded_views(mesh, forward, up, relief=relief, angles=angles, frame=frame, size=size)
