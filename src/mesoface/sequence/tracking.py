"""Where each piece of skin has moved since another frame, followed in all views at once.

Every view's photo is unrolled over the surface of the previous frame into the UV square. The difference
between that picture and the same camera's picture of the anchor frame is the error of the position; optical
flow measures it (DIS; Kroeger et al., ECCV 2016). The flows of all views, each turned into a ray, meet where
the skin is now (scene flow from several views; Vedula et al., ICCV 1999). The anchor frame stays the same,
so errors do not accumulate from frame to frame (anchor frames; Beeler et al., SIGGRAPH 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.mesh import unit
from mesoface.landmarks.photometric import as_bytes, evened, from_bytes, local_correlation
from mesoface.landmarks.triangulation import nearest_to_rays
from mesoface.matching.displacement import fill_by_confidence
from mesoface.uvd.maps import blur_masked, resize_map
from mesoface.uvd.photos import resample_photo
from mesoface.uvd.space import UVDSpace
from mesoface.uvd.visibility import SEEN

Map = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIZE = 256
"""Side of the maps in which skin is followed, texels: 0.85 mm each, the coarsest that still shows skin."""
_STRIDE = 2  # of the texels of which the place in space is worked out
_ROUNDS = 2
_REACH_MM = 12.0  # of the photo is kept around the surface
_POOR, _GOOD = 0.35, 0.8  # correlation after the flow: weight 0 and 1
_WELL_SEEN = 0.35  # visibility from which on a texel counts for the agreement
_RAYS_MM = 0.5  # distance from the other views' rays at which a view keeps a quarter of its weight
_STIFFNESS, _SMOOTH, _OUTLIER_MM = 0.25, 2.0, 1.0  # of the motion: see smooth_robustly


@dataclass(frozen=True, eq=False)
class Tracked:
    """Where the skin was found.

    Args:
        position: (SIZE, SIZE, 3) float32 mm.
        agreement: median correlation of the photos with the anchor's where the skin is well seen, in [-1, 1].
    """

    position: Map
    agreement: float


def unroll(views: Sequence[View], space: UVDSpace, visibility: Map) -> Bytes:
    """The views' pictures of a surface in the UV square, evened.

    Args:
        views: V photos.
        space: the surface, at :data:`SIZE`.
        visibility: (V, SIZE, SIZE); what a view does not see is grey.

    Returns:
        (V, SIZE, SIZE) uint8.
    """
    points = space.position[space.valid].astype(np.float64)
    pictures = []
    for view, seen in zip(views, visibility, strict=True):
        grey, camera = resample_photo(view.luminance, view.camera, points, space.texel_mm, 1.0, _REACH_MM)
        where = camera.project(space.position)[0].astype(np.float32)
        picture = cv2.remap(grey, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        pictures.append(as_bytes(evened(picture) * (seen > SEEN)))
    return np.stack(pictures)


def track(views: Sequence[View], anchor: Bytes, space: UVDSpace, visibility: Map) -> Tracked:
    """Track the skin from its place in the previous frame.

    Args:
        views: V photos of this frame.
        anchor: (V, SIZE, SIZE) the same cameras' pictures of the anchor frame, from :func:`unroll`.
        space: the surface of the frame before, at :data:`SIZE`.
        visibility: (V, SIZE, SIZE) in the frame before.

    Returns:
        the place of every texel, continued smoothly to where fewer than two views see it.
    """
    agreement = 0.0
    for _ in range(_ROUNDS):
        found, weights, agreement = _follow(views, anchor, space, visibility)
        motion = _move(views, found, weights, space)
        space = UVDSpace(space.position + motion, space.normal, space.valid)
    return Tracked(space.position, agreement)


def _follow(views: Sequence[View], anchor: Bytes, space: UVDSpace, visibility: Map) -> tuple[Map, Map, float]:
    """(V, N, 3) where on the surface each view shows the anchor's skin, (V, N) how surely, and how well the
    pictures agree; N texels, a stride apart.
    """
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)
    flows = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found, weights, agreed = [], [], []
    for before, now, seen in zip(anchor, unroll(views, space, visibility), visibility, strict=True):
        where = grid + flows.calc(before, now, None)
        there = cv2.remap(from_bytes(now), where, None, cv2.INTER_LINEAR)
        likeness = local_correlation(from_bytes(before), there)
        agreed.append(likeness[(seen > _WELL_SEEN) & space.valid])
        place = cv2.remap(space.position, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        sure = seen * space.valid * np.clip((likeness - _POOR) / (_GOOD - _POOR), 0, 1)
        found.append(place[::_STRIDE, ::_STRIDE].reshape(-1, 3))
        weights.append(sure[::_STRIDE, ::_STRIDE].ravel())
    together = np.concatenate(agreed)
    return np.stack(found), np.stack(weights), float(np.median(together)) if len(together) else 0.0


def _move(views: Sequence[View], found: Map, weights: Map, space: UVDSpace) -> Map:
    """(SIZE, SIZE, 3) motion, mm, to where the views' rays meet; views that contradict the others count
    less.
    """
    centers = np.stack([view.camera.center for view in views])
    rays = unit(found.astype(np.float64) - centers[:, None])  # (V, N, 3)
    trust = weights.astype(np.float64)
    points = nearest_to_rays(centers, rays, trust)
    offset = np.nan_to_num(points) - centers[:, None]
    beside = np.linalg.norm(offset - (offset * rays).sum(-1, keepdims=True) * rays, axis=-1)
    trust = trust / (1 + (beside / _RAYS_MM) ** 2) ** 2
    points = nearest_to_rays(centers, rays, trust)

    before = space.position[::_STRIDE, ::_STRIDE]
    known = np.isfinite(points).all(1).reshape(before.shape[:2])
    motion = np.where(known[..., None], points.reshape(before.shape) - before, 0).astype(np.float32)
    sure = np.minimum(trust.sum(0), 1).reshape(known.shape).astype(np.float32) * known
    smooth = _smoothed(motion, sure)
    for _ in range(2):
        outlying = ((motion - smooth) ** 2).sum(-1) / _OUTLIER_MM**2
        smooth = _smoothed(motion, sure / (1 + outlying) ** 2)
    return resize_map(smooth, np.ones(known.shape, bool), SIZE)


def _smoothed(motion: Map, weight: Map) -> Map:
    filled = [fill_by_confidence(motion[..., axis], weight, _STIFFNESS) for axis in range(3)]
    return blur_masked(np.stack(filled, -1), np.ones(weight.shape, bool), _SMOOTH)
