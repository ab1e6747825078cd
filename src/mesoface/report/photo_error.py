"""The textured face rendered into each view, against the view's photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.files.encode import as_uint8
from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import Mesh
from mesoface.geometry.ray_casting import Hits, RayCaster
from mesoface.rendering.false_color import colorize
from mesoface.texture import Texture
from mesoface.uvd.maps import sample_map

RGB = NDArray[np.uint8]
LARGEST = 0.1
"""Difference at the colour map's end, share of the photo's range."""

_HEIGHT = 300  # of the face in the pictures, pixels
_TEXELS = 512  # side of the texture they are drawn with: about a pixel a texel
_MARGIN = 0.06  # around the face, share of its size


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
    facing = np.einsum("nk,nk->n", _facets(mesh, hits), camera.rays(camera.pixel_grid()).reshape(-1, 3)) < 0
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


def _facets(mesh: Mesh, hits: Hits) -> NDArray[np.float64]:
    """(N, 3) normals of the faces that were hit, of any length; without a meaning where none was."""
    a, b, c = mesh.vertices[mesh.faces[hits.face].T]
    return np.cross(b - a, c - a)


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
