"""The paper's texture, for comparison: the mean of the photos, weighted by the cosine to the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh, unit
from mesoface.texture.plan import TexturePlan
from mesoface.texture.weights import RAY_SIZE, Skin, weigh_views
from mesoface.uvd.maps import fill_outside
from mesoface.uvd.visibility import inside_image


def plan_plain_blend(
    skin: Skin, views: Sequence[View], *, visible: bool = False, occluder: Mesh | None = None
) -> TexturePlan:
    """Xiao et al. 2022: weight = max(0, normal · direction to the camera), 0 outside of the photo.

    Args:
        skin: the surface.
        views: V photos.
        visible: leave out what does not see the texel; the paper does not.
        occluder: further surface that hides the face, for ``visible``.
    """
    space = skin.resized(min(RAY_SIZE, skin.space.size)).space
    points = space.position.reshape(-1, 3).astype(np.float64)
    weights = np.zeros((len(views), *space.valid.shape), np.float32)
    for weight, view in zip(weights, views, strict=True):
        cosine = np.einsum("nk,nk->n", unit(view.camera.center - points), space.normal.reshape(-1, 3))
        weight[:] = (np.maximum(cosine, 0) * inside_image(view, points, 0)).reshape(space.valid.shape)
    if visible:
        weights *= weigh_views(skin, views, occluder).color > 0
    total = weights.sum(0)
    share = weights / np.maximum(total, 1e-9)
    share = np.stack([fill_outside(one, total > 0) for one in share])
    nothing = np.zeros((8, 8, 3), np.float32)
    return TexturePlan(
        skin=skin,
        views=tuple(views),
        gains=np.ones((len(views), 3), np.float32),
        color=nothing,
        smooth=np.broadcast_to(nothing, (len(views), *nothing.shape)),
        detail=share,
        seen=(total > 0).astype(np.float32),
    )
