"""How well each photo shows each texel: by visibility, angle, resolution and the distance to what hides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.capture import View
from mesoface.mesh import Mesh, unit
from mesoface.raycast import RayCaster
from mesoface.texture.skin import Skin
from mesoface.uvd.visibility import inside_image

Maps = NDArray[np.float32]

RAY_SIZE = 256
"""Side of the maps of weights, texels: they are smooth, and rays are the costly part."""

# Cosine between normal and direction to the camera: useless below the first, at its best from the second on.
_GRAZING, _FACING = 0.15, 0.7
# Something counts as hidden when it lies this far behind what is met first, mm.
_TOLERANCE_MM = 1.0
# What the surface and the calibration are off moves an occluder's edge over the skin behind: colour is taken
# at full weight only this far from it, mm. Colour without detail fades over more, which nobody sees.
_DETAIL_MARGIN_MM, _COLOR_MARGIN_MM = 4.0, 16.0
# Sharper views win: the power of the weight with which detail is mixed.
_PREFERENCE = 3.0


@dataclass(frozen=True, eq=False)
class ViewWeights:
    """What each of V photos may say at each texel; not normalised.

    Args:
        color: (V, R, R) for colour without detail: changes slowly from photo to photo.
        detail: (V, R, R) for detail: nearly all of it comes from the photo that shows it best.
    """

    color: Maps
    detail: Maps


def weigh_views(skin: Skin, views: Sequence[View], occluder: Mesh | None = None) -> ViewWeights:
    """Visibility by ray casting against the surface itself, and what follows from the geometry.

    Args:
        skin: the surface, of any resolution; rays are cast at ``RAY_SIZE``.
        views: V photos.
        occluder: further surface that hides the face (ears, neck), or None.
    """
    skin = skin.resized(min(RAY_SIZE, skin.space.size))
    space, valid = skin.space, skin.space.valid
    casters = [RayCaster(mesh) for mesh in (skin.mesh(), occluder) if mesh is not None]
    points, normals = space.position[valid].astype(np.float64), space.normal[valid].astype(np.float64)
    color, detail = (np.zeros((len(views), *valid.shape), np.float32) for _ in range(2))
    for v, view in enumerate(views):
        center = view.camera.center
        cosine = np.einsum("nk,nk->n", unit(center - points), normals)
        seen = (cosine > _GRAZING) & inside_image(view, points)
        ask = np.flatnonzero(seen)
        for caster in casters:
            ask = ask[~caster.blocked(center, points[ask], _TOLERANCE_MM)]
        visible = np.zeros(valid.shape, bool)
        visible[tuple(index[ask] for index in np.nonzero(valid))] = True
        hidden_mm = _distance(visible | ~valid) * space.texel_mm
        footprint = view.camera.to_camera(points)[:, 2] / view.camera.K[0, 0]  # mm a pixel
        margin = np.minimum(hidden_mm[valid], _pixels_to_edge(view, points) * footprint)
        facing = np.clip((cosine - _GRAZING) / (_FACING - _GRAZING), 0, 1) * visible[valid]
        resolution = np.maximum(cosine, 0) / footprint
        color[v][valid] = facing * _ramp(margin / _COLOR_MARGIN_MM)
        detail[v][valid] = facing * _ramp(margin / _DETAIL_MARGIN_MM) * resolution**_PREFERENCE
    return ViewWeights(color, detail)


def _distance(mask: NDArray[np.bool_]) -> Maps:
    """(H, W) distance to the nearest False, in texels; as far as the map is wide where there is none."""
    if mask.all():
        return np.full(mask.shape, max(mask.shape), np.float32)
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)


def _pixels_to_edge(view: View, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) distance of points (N, 3) to the photo's edge and that of its mask, pixels; 0 outside."""
    pixels, _ = view.camera.project(points)
    last = np.array([view.camera.width, view.camera.height]) - 1
    distance = np.nan_to_num(np.minimum(pixels, last - pixels).min(1), nan=0.0)
    if view.mask is not None:
        x, y = np.rint(np.clip(np.nan_to_num(pixels), 0, last)).astype(int).T
        distance = np.minimum(distance, _distance(view.mask)[y, x])
    return np.maximum(distance, 0)


def _ramp(x: NDArray) -> NDArray:
    """0 at 0, 1 from 1 on, without kinks."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
