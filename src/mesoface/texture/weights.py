"""The surface that photos are laid on, and how well each photo shows each of its texels.

What counts is visibility, angle, resolution, and the distance to what hides a texel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.ray_casting import RayCaster
from mesoface.uvd.maps import dilate, erode, fill_outside, rasterize_uv, resize_mask, within
from mesoface.uvd.space import FineSurface, UVDSpace, smooth_normals

# Reach of the normals' smoothing: a photo's weight follows the form, not the pores.
_NORMAL_MM = 3.0


@dataclass(frozen=True, eq=False)
class Skin:
    """Where every texel lies in space.

    Args:
        space: position (S, S, 3) mm on the measured surface, and on the base mesh where nothing was measured;
            normal (S, S, 3) unit, smoothed; valid (S, S) what photos may colour: the measured surface, and
            the openings in it (eyes, mouth, nostrils) on the base mesh.
        covered: (S, S) where there is a surface at all: also what is only known as the base mesh.
    """

    space: UVDSpace
    covered: NDArray[np.bool_]

    def resized(self, size: int) -> Skin:
        """The same at another resolution."""
        return Skin(self.space.resized(size), resize_mask(self.covered, size))


def find_skin(fine: FineSurface, base: Mesh) -> Skin:
    """Put the measured surface and the base mesh's eyes, lips and nostrils together.

    Args:
        fine: the measured surface.
        base: base mesh that follows it, with UVs.

    Raises:
        ValueError: the base mesh has no UVs.
    """
    if base.uv is None:
        raise ValueError("the base mesh has no UVs")
    raster = rasterize_uv(base.uv, base.uv_index, fine.space.size)
    kept = fine.kept
    valid, covered = kept | (within(kept) & raster.valid), kept | raster.valid
    fitted = raster.interpolate(base.vertices, base.faces)
    position = np.where(kept[..., None], fine.space.displaced(fine.displacement), fitted)
    position = fill_outside(position, covered)
    space = UVDSpace(position, fine.space.normal, valid)
    normal = smooth_normals(position, covered, _NORMAL_MM / space.texel_mm, fine.space.normal)
    return Skin(UVDSpace(position, normal, valid), covered)


Maps = NDArray[np.float32]
# Surfaces to cast rays at, each with how far behind it a texel must lie to be hidden, mm.
_Casters = Sequence[tuple[RayCaster, float]]

RAY_SIZE = 256
"""Side of the maps of weights, texels: they are smooth, and rays are the costly part."""

# Least cosine between normal and direction to the camera.
_GRAZING = 0.1
# A texel is hidden when it lies this far behind what is met first, mm, and so do those around it up to a
# distance of some mm: a measured surface is a little bumpy, and bumps do not hide skin.
_TOLERANCE_MM, _BUMP_MM = 1.0, 1.5
# The base mesh around the face is only fitted: it does not hide the rim that it adjoins.
_FITTED_TOLERANCE_MM = 5.0
# What the surface and the calibration are off moves an occluder's edge over the skin behind: colour is taken
# at full weight only this far from it, mm. Colour without detail fades over more, which is invisible.
_DETAIL_MARGIN_MM, _COLOR_MARGIN_MM = 1.5, 3.0
# Weight at the edge itself: what no photo shows better is taken from there.
_AT_EDGE = 0.02
# Texels by which an edge found by rays is off.
_MIXED_TEXELS = 1.5
# Pixels at an outline in which skin and background mix, and over which weights fade in after that. Skin near
# outlines is seen by few photos: a wider fade loses more of it than mixed pixels spoil.
_MIXED_PX, _FADE_PX = 1.0, 0.5


def weigh_views(skin: Skin, views: Sequence[View], occluder: Mesh | None = None) -> tuple[Maps, Maps]:
    """Visibility by ray casting against the surface itself, and what follows from the geometry.

    Args:
        skin: the surface, of any resolution; rays are cast at ``RAY_SIZE``.
        views: V photos.
        occluder: further surface that hides the face (ears, neck), or None.

    Returns:
        two weights of each photo, (V, R, R), not normalised: for colour without detail, which changes slowly
        from photo to photo, and for detail, also by how many pixels the photo has of the texel.
    """
    skin = skin.resized(min(RAY_SIZE, skin.space.size))
    casters = [(RayCaster(skin.space.mesh()), _TOLERANCE_MM)]
    if occluder is not None:
        casters.append((RayCaster(occluder), _FITTED_TOLERANCE_MM))
    pairs = [_weigh_view(skin, view, casters) for view in views]
    color, detail = (np.stack(maps) for maps in zip(*pairs, strict=True))
    return color, detail


def _weigh_view(skin: Skin, view: View, casters: _Casters) -> tuple[Maps, Maps]:
    """(R, R) both weights of one photo."""
    space, valid = skin.space, skin.space.valid
    points, normals = space.position[valid].astype(np.float64), space.normal[valid].astype(np.float64)
    footprint = view.camera.to_camera(points)[:, 2] / view.camera.K[0, 0]  # mm a pixel
    cosine = np.einsum("nk,nk->n", unit(view.camera.center - points), normals)
    hidden_texels = _distance(~_find_hidden(space, view, cosine > _GRAZING, casters))[valid]
    margin = (hidden_texels - _MIXED_TEXELS) * space.texel_mm
    edge_px = np.minimum(_to_photo_edge(view, points), _to_outline(view, skin, np.median(footprint)))
    seen = np.clip((cosine - _GRAZING) / (1 - _GRAZING), 0, 1)
    seen *= (hidden_texels > 0) * np.clip((edge_px - _MIXED_PX) / _FADE_PX, 0, 1)
    color, detail = np.zeros((2, *valid.shape), np.float32)
    color[valid] = seen * _fade(margin / _COLOR_MARGIN_MM)
    detail[valid] = seen * _fade(margin / _DETAIL_MARGIN_MM) / footprint
    return color, detail


def _find_hidden(
    space: UVDSpace, view: View, facing: NDArray[np.bool_], casters: _Casters
) -> NDArray[np.bool_]:
    """(R, R) which of the valid texels that are ``facing`` (N,) the camera have something before them."""
    hidden = np.zeros(space.valid.shape, bool)
    row, column = (index[facing] for index in np.nonzero(space.valid))
    points = space.position[row, column]
    for caster, tolerance in casters:
        hidden[row, column] |= caster.blocked(view.camera.center, points, tolerance)
    bump = round(_BUMP_MM / space.texel_mm)
    return dilate(erode(hidden, bump), bump)


def _distance(mask: NDArray[np.bool_]) -> Maps:
    """(H, W) distance to the nearest False, in texels; as far as the map is wide where there is none."""
    if mask.all():
        return np.full(mask.shape, max(mask.shape), np.float32)
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)


def _to_photo_edge(view: View, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) distance of points (N, 3) to the photo's edge and that of its mask, pixels; ≤ 0 outside."""
    pixels, _ = view.camera.project(points)
    last = np.array([view.camera.width, view.camera.height]) - 1
    distance = np.nan_to_num(np.minimum(pixels, last - pixels).min(1), nan=-1.0)
    if view.mask is not None:
        x, y = np.rint(np.clip(np.nan_to_num(pixels), 0, last)).astype(int).T
        distance = np.minimum(distance, _distance(view.mask)[y, x])
    return distance


def _to_outline(view: View, skin: Skin, footprint: float) -> NDArray[np.float64]:
    """(N,) distance of the N valid texels to the outline of all that is covered, in pixels of the photo.

    The outline is found on a grid in the photo, as coarse as the texels are (``footprint``: mm a pixel).
    """
    covered = skin.covered | skin.space.valid
    pixels, _ = view.camera.project(skin.space.position[covered])
    known = np.isfinite(pixels).all(1)
    distance = np.zeros(len(pixels))
    if known.any():
        cell = skin.space.texel_mm / footprint
        x, y = np.rint((pixels[known] - pixels[known].min(0)) / cell).astype(int).T + 2  # two empty cells
        grid = np.zeros((y.max() + 3, x.max() + 3), np.uint8)
        grid[y, x] = 1
        grid = cv2.morphologyEx(grid, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        distance[known] = (_distance(grid > 0)[y, x] - 1) * cell
    return distance[skin.space.valid[covered]]


def _fade(x: NDArray) -> NDArray:
    """``_AT_EDGE`` up to 0, 1 from 1 on, without kinks."""
    x = np.clip(x, 0, 1)
    return _AT_EDGE + (1 - _AT_EDGE) * x * x * (3 - 2 * x)
