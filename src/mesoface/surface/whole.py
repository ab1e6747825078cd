"""The measured surface as a mesh: with its holes, or as one closed surface that the face model completes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.geometry.mesh import Mesh
from mesoface.surface.fine import (
    clean_coverage,
    find_torn,
    fine_mesh,
    measure_displacement,
    smooth_base,
)
from mesoface.uvd.filling import fill_smoothly
from mesoface.uvd.maps import blur_masked, dilate, rasterize_uv, within
from mesoface.uvd.space import FineSurface, Match, UVDSpace, build_uvd_space, smooth_normals

# Corners of the model's facial rim are rounded over so many mm.
_OUTLINE_MM = 3.0
# Weight of the mask under that Gaussian at the outline. At 0.63 it runs 1 mm inside of the model's rim, where
# texels are squeezed.
_INSIDE = 0.63
# The surface goes on beyond its rim by so many mm while it is smoothed.
_BEYOND_MM = 9.0
# Where the photos stop agreeing the surface is at its worst: so many mm before that are left to the filling.
_RIM_MM = 2.0
# What is measured alone, in the middle of what is not, is rarely right where it is smaller than this.
_ISLAND_MM2 = 60.0
# Over so many mm the slope at the seam fades into the shape of the face model.
_REACH_MM = 8.0
# The same for single texels that the base's rays miss.
_MENDING_MM = 2.0
# Facets of the model are rounded over so many mm.
_MODEL_MM = 1.5
# Rounds of mending until no quad is torn; each lets go of more texels around those that are.
_ROUNDS = 5


def open_surface(matched: Match) -> FineSurface:
    """What was measured, as base, displacement and mesh. Small holes are closed, larger ones stay open."""
    coverage = clean_coverage(matched)
    space = smooth_base(matched.space, coverage.kept)
    displacement, met = measure_displacement(space, fine_mesh(matched.space, coverage.kept))
    return _fine_surface(matched, space, displacement, coverage.kept & met, coverage.filled, every_quad=False)


def whole_surface(matched: Match, base: Mesh, facial: NDArray[np.bool_]) -> FineSurface:
    """One closed surface inside of the face model's rim: what was measured, and the model where nothing was.

    The model is bent onto what was measured: its offset to it is continued as a thin plate under tension, so
    that neither a step nor a crease is at the seam. Eyes, mouth and nostrils are closed in the same way where
    they were not measured.

    Args:
        matched: what was measured.
        base: the fitted base mesh, mm.
        facial: (F,) its faces in the facial mask, whose outer rim bounds the surface.
    """
    texel = matched.space.texel_mm
    domain = _outline(base, facial, matched.space.size, _OUTLINE_MM / texel)
    # Beyond the rim too, or smoothing would pull it inwards.
    wide = dilate(domain, round(_BEYOND_MM / texel))
    whole, known = _completed(matched, base, facial, wide)
    known &= domain
    space = replace(smooth_base(whole, wide), valid=domain)
    displacement, trusted = measure_displacement(space, fine_mesh(whole, wide))
    for margin in range(1, _ROUNDS + 1):
        displacement = fill_smoothly(displacement, trusted, domain, _MENDING_MM / texel)
        displacement = np.where(domain, displacement, 0)
        torn = find_torn(replace(space, position=space.displaced(displacement)), domain)
        if not torn.any():
            break
        trusted &= ~dilate(torn, 2 * margin)
    space = replace(space, valid=matched.space.valid)
    filled = domain & ~(known & trusted)
    return _fine_surface(matched, space, displacement, domain, filled, every_quad=True)


def _fine_surface(
    matched: Match,
    space: UVDSpace,
    displacement: NDArray[np.float32],
    kept: NDArray[np.bool_],
    filled: NDArray[np.bool_],
    *,
    every_quad: bool,
) -> FineSurface:
    displacement = np.where(kept, displacement, 0)
    measured = kept & ~filled
    surface = replace(space, position=space.displaced(displacement))
    uncertainty = None if matched.uncertainty is None else np.where(measured, matched.uncertainty, 0)
    mesh = fine_mesh(surface, kept, measured, uncertainty, every_quad=every_quad)
    return FineSurface(
        mesh=mesh,
        space=space,
        displacement=displacement,
        kept=kept,
        filled=filled & kept,
        confidence=np.where(measured, matched.confidence, 0),
        visibility=matched.visibility,
        left_out=float(1 - (measured & space.valid).sum() / max(space.valid.sum(), 1)),
        uncertainty=uncertainty,
    )


def _outline(base: Mesh, facial: NDArray[np.bool_], size: int, sigma: float) -> NDArray[np.bool_]:
    """(H, H) what lies within the outer rim of the facial mask, in one piece and without holes."""
    assert base.uv is not None
    region = within(rasterize_uv(base.uv, base.uv_index[facial], size).valid)
    soft = blur_masked(region.astype(np.float32), np.ones_like(region), sigma) > _INSIDE
    _, labels, stats, _ = cv2.connectedComponentsWithStats(soft.astype(np.uint8), connectivity=4)
    return within(labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def _without_islands(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """The connected parts of at least so many texels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return (stats[:, cv2.CC_STAT_AREA] >= least)[labels] & mask


def _completed(
    matched: Match, base: Mesh, facial: NDArray[np.bool_], domain: NDArray[np.bool_]
) -> tuple[UVDSpace, NDArray[np.bool_]]:
    """The surface of all of ``domain``, and where it is what was measured."""
    space, texel = matched.space, matched.space.texel_mm
    coverage = clean_coverage(matched)
    measured = coverage.kept & ~coverage.filled
    # The end of the mask is not the end of what can be measured.
    lost = dilate(space.valid & ~measured, round(_RIM_MM / texel)) | dilate(find_torn(space, measured), 1)
    known = _without_islands(measured & domain & ~lost, _ISLAND_MM2 / texel**2)
    # Where UVs overlap the first triangle wins: that of the skin.
    order = np.argsort(~facial, kind="stable")
    skin_first = replace(base, faces=base.faces[order], uv_faces=base.uv_index[order])
    everything = np.ones(len(order), bool)
    model = build_uvd_space(skin_first, everything, space.size, smooth_mm=_MODEL_MM)
    form = fill_smoothly(model.position, model.valid, domain, _REACH_MM / texel)
    if known.any():
        form = form + fill_smoothly(space.position - form, known, domain, _REACH_MM / texel)
    position = np.where(known[..., None], space.position, form).astype(np.float32)
    normal = smooth_normals(position, domain, 2 * _MODEL_MM / texel, space.normal)
    return UVDSpace(position, normal, domain), known
