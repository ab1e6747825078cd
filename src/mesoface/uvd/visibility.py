"""Which view sees which texel, by ray casting, and how well."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.errors import ReconstructionError
from mesoface.geometry.mesh import unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import blur_masked
from mesoface.uvd.space import UVDSpace

# Visibility varies slowly over the skin: rays are cast at this resolution and the result is resized.
_RAY_SIZE = 192
# Visibility from which a view counts as seeing a texel at all.
SEEN = 0.05
# Cosine between normal and direction to the camera: up to the first a texel is useless, for its footprint in
# the photo is too long for a window to compare; from the second on it is seen well.
_GRAZING, _FACING = 0.15, 0.6


def cast_visibility(
    space: UVDSpace, views: Sequence[View], occluder: RayCaster | None = None, *, tolerance: float = 2.0
) -> NDArray[np.float32]:
    """How well each view sees each texel: 0 where it does not.

    A texel is seen when the ray from the camera meets nothing more than ``tolerance`` mm before it and
    it lies inside the photo and its mask. The weight grows with the cosine between the normal and the
    direction to the camera, and fades towards the edge of what is seen.

    Args:
        space: the UVD space, at any resolution.
        views: V views.
        occluder: further surface that hides the face (ears, neck), or None.
        tolerance: mm.

    Returns:
        (V, H, H) float32 in [0, 1].
    """
    size = min(_RAY_SIZE, space.size)
    coarse = space if size == space.size else space.resized(size)
    casters = [RayCaster(coarse.mesh())]
    if occluder is not None:
        casters.append(occluder)
    valid = coarse.valid
    points, normals = coarse.position[valid].astype(np.float64), coarse.normal[valid].astype(np.float64)
    out = np.zeros((len(views), space.size, space.size), np.float32)
    for v, view in enumerate(views):
        direction = unit(view.camera.center - points)
        cosine = np.einsum("nk,nk->n", direction, normals)
        weight = np.clip((cosine - _GRAZING) / (_FACING - _GRAZING), 0, 1)
        seen = (weight > 0) & inside_image(view, points)
        ask = np.flatnonzero(seen)
        for caster in casters:
            ask = ask[~caster.blocked(view.camera.center, points[ask], tolerance)]
        lit = np.zeros(valid.shape, np.float32)
        row, column = np.nonzero(valid)
        lit[row[ask], column[ask]] = weight[ask]
        # Fade over two coarse texels: an occlusion edge is only known to the base's accuracy.
        soft = blur_masked(lit, valid, 1.0)
        lit = np.where(lit > 0, np.minimum(lit, soft), 0)
        out[v] = cv2.resize(lit, (space.size, space.size), interpolation=cv2.INTER_LINEAR)
    return out * space.valid


def seen_by_two(space: UVDSpace, visibility: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, H) texels of the facial mask that at least two of V views see.

    Args:
        space: the UVD space, (H, H).
        visibility: (V, H, H) of :func:`cast_visibility`.

    Raises:
        ReconstructionError: there is none.
    """
    seen = space.valid & ((visibility > SEEN).sum(0) >= 2)
    if not seen.any():
        raise ReconstructionError(
            "no part of the face is seen by two photos",
            remedy="check the calibration with `mesoface inspect`",
        )
    return seen


def inside_image(view: View, points: NDArray[np.float64], margin: float = 3.0) -> NDArray[np.bool_]:
    """(N,) whether world points (N, 3) project into the photo and its mask.

    ``margin`` is the distance to keep from the photo's edge, pixels.
    """
    pixels, depth = view.camera.project(points)
    last = np.array([view.camera.width, view.camera.height]) - 1
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & ((pixels >= margin) & (pixels <= last - margin)).all(1)
    if view.mask is not None:
        x, y = np.rint(pixels[inside]).astype(int).T
        inside[inside] = view.mask[y, x]
    return inside
