"""The measured surface refined over all views at once.

The cascade compares pairs of views in windows, a few pairs a view. Here every view is compared with the mean
of all of them, texel by texel, and the surface moves by Gauss–Newton steps to where they agree best. What the
photos say is weighed by how much it says: the gradient of the skin's texture along the parallax of a view,
over the noise there (maximum a posteriori; the linear model is that of Lucas and Kanade, 1981, on the
surface). Where they say little, a thin plate (Duchon, 1977) continues what lies around. So the window is as
wide as it must be at each texel, and no wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.sparse.linalg import LinearOperator, cg

from mesoface.captures.capture import View
from mesoface.matching.consensus import TANGENT_MM, Photo, compare_views, draw_signs, make_bands
from mesoface.matching.matcher import FINEST_TEXEL
from mesoface.matching.uncertainty import Evidence, estimate_uncertainty
from mesoface.running.progress import ProgressCallback, silent
from mesoface.uvd.maps import blur_linearly, bounding_box, fill_outside
from mesoface.uvd.photos import resample_photo, typical_footprint
from mesoface.uvd.space import Match, UVDSpace, smooth_normals

Map = NDArray[np.float32]

_ROUNDS = 3
# Side of the maps, texels, by preset. The cascade may end on smaller ones.
_SIZES = {"fast": 512, "default": 768, "best": 1024}
# Smoothing of the surface that the plate is bent from, in footprints: what a pixel spans on the face, or a
# texel where that is more.
_BASE = 5.0
# Standard deviation of the skin's curvature about that surface, times the footprint. Chosen on captures/lps
# and captures/lps_phone, as the length above.
_CURVATURE = 0.2
# No step is longer, mm: the linear model holds for about a pixel.
_LONGEST_STEP = 0.5
_OVERSAMPLE = 1.5
# Information of the cascade's surface at full confidence, 1/mm² a texel: it holds where photos say nothing.
_CASCADE = 0.1
# Squared confidence of the cascade counts as at least so much.
_LEAST_TRUST = 1e-3
# Draws of the noise.
_DRAWS = 3
# Of the conjugate gradients.
_TOLERANCE, _ITERATIONS = 1e-3, 60


def refined_size(found: Match, preset: str) -> int:
    """Side of the maps to refine on: the preset's, unless its texels would be much finer than the pixels.

    Args:
        found: the measured surface.
        preset: ``fast``, ``default`` or ``best``.

    Returns:
        at least the size of ``found``.
    """
    space, size = found.space, _SIZES[preset]
    center = space.position[found.measured].mean(0)
    pixel = typical_footprint([view.camera for view in found.views], center)
    fits = space.texel_mm * space.size / size >= FINEST_TEXEL * pixel
    return max(space.size, size) if fits else space.size


def refine(
    found: Match,
    photos: Sequence[Photo] | None = None,
    *,
    rounds: int = _ROUNDS,
    memory_mb: int = 1024,
    threads: int = 2,
    progress: ProgressCallback = silent,
) -> Match:
    """Move the measured surface to where all views agree best.

    Args:
        found: from :func:`mesoface.matching.cascade.match`; the surface is some tenths of a millimetre off.
        photos: of its V views, where they are sharper than the views themselves; None: the views.
        rounds: Gauss–Newton steps.
        memory_mb: for the texels that are compared at a time; more are compared in strips.
        threads: of the CPU.
        progress: called once a round.

    Returns:
        ``found`` with another surface and its uncertainty; what is measured, and how confidently, stays.
    """
    refined, evidence = refine_with_evidence(
        found, photos, rounds=rounds, memory_mb=memory_mb, threads=threads, progress=progress
    )
    uncertainty = np.zeros(found.measured.shape, np.float32)
    uncertainty[bounding_box(found.space.valid)] = estimate_uncertainty(evidence)
    return replace(refined, uncertainty=uncertainty)


def refine_with_evidence(
    found: Match,
    photos: Sequence[Photo] | None = None,
    *,
    rounds: int = _ROUNDS,
    memory_mb: int = 1024,
    threads: int = 2,
    progress: ProgressCallback = silent,
) -> tuple[Match, Evidence]:
    """:func:`refine`, and what its uncertainty is estimated from, in the box around the facial mask."""
    part = bounding_box(found.space.valid)
    space = UVDSpace(found.space.position[part], found.space.normal[part], found.measured[part])
    mask, sees = space.valid, found.visibility[:, *part] * space.valid
    texel = found.space.texel_mm
    photos = photos or [_cut(view, space, texel) for view in found.views]
    footprint = float(np.median([photo.footprint for photo in photos]))
    scale = max(footprint, texel)
    bands = make_bands(scale / texel, footprint / texel)
    # Where the cascade doubts its surface, it neither shapes the base nor holds the plate.
    trust = np.where(mask, np.maximum(found.confidence[part] ** 2, _LEAST_TRUST), 0).astype(np.float32)
    base = fill_outside(blur_linearly(space.position, trust, _BASE * scale / texel), mask)
    normal = smooth_normals(base, mask, _BASE * scale / texel, space.normal)
    offset = np.einsum("hwc,hwc->hw", fill_outside(space.position, mask) - base, normal)
    height = fill_outside(offset, mask)
    plate = (scale / (_CURVATURE * texel**2)) ** 2
    for number in range(rounds):
        progress("Refinement", number, rounds)
        space = UVDSpace(base + normal * height[..., None], normal, mask)
        # Of the last round alone the noise matters.
        signs = draw_signs(len(photos), _DRAWS if number == rounds - 1 else 0)
        said = compare_views(space, texel, photos, sees, bands, signs, memory_mb=memory_mb, threads=threads)
        information = said.information + _CASCADE * trust
        bent = bend_plate(information, information * height + said.pull, plate, height, threads=threads)
        step = np.clip(bent - height, -_LONGEST_STEP, _LONGEST_STEP)
        height = height + step
    progress("Refinement", rounds, rounds)
    moved = np.zeros_like(found.space.position)
    moved[part] = np.where(mask[..., None], base + normal * height[..., None] - found.space.position[part], 0)
    # What was not measured goes along with what was, so that there is no step.
    position = found.space.position + fill_outside(moved, found.measured)
    normals = smooth_normals(position, found.space.valid, TANGENT_MM / texel, found.space.normal)
    level = np.zeros_like(height)
    evidence = Evidence(
        space=UVDSpace(base + normal * height[..., None], normal, mask),
        texel_mm=texel,
        footprint_mm=scale,
        information=said.information,
        stiffness=plate,
        noise=np.stack([bend_plate(information, draw, plate, level, threads=threads) for draw in said.noise]),
        moved=height - offset,
        step=step,
        confidence=found.confidence[part],
        views=said.views,
    )
    return replace(found, space=replace(found.space, position=position, normal=normals)), evidence


def bend_plate(information: Map, pull: Map, stiffness: float, start: Map, *, threads: int = 2) -> Map:
    """The thin plate that data pull on: the least Σ information · x² / 2 − pull · x + stiffness · |Δx|² / 2.

    Solved by conjugate gradients; where all texels have the same information, the cosine transform is the
    solution, and it is the preconditioner where they have not.

    Args:
        information: (H, W) > 0, how firmly each texel is held.
        pull: (H, W) information × where it is held.
        stiffness: of the plate, in texels.
        start: (H, W) where the solution is first looked for.
        threads: of the CPU.

    Returns:
        (H, W) float32.
    """
    shape = information.shape
    waves = [2 - 2 * np.cos(np.pi * np.arange(count) / count) for count in shape]
    frequency = (waves[0][:, None] + waves[1][None]) ** 2
    typical = float(np.exp(np.log(information).mean()))
    inverse = (1 / (typical + stiffness * frequency)).astype(np.float32)

    def apply(x: NDArray) -> NDArray:
        x = x.reshape(shape).astype(np.float32)
        return (information * x + np.float32(stiffness) * _laplacian(_laplacian(x))).ravel()

    def precondition(x: NDArray) -> NDArray:
        waves = dctn(x.reshape(shape), norm="ortho", workers=threads)
        return idctn(waves * inverse, norm="ortho", workers=threads).ravel()

    size = information.size
    matrix = LinearOperator((size, size), matvec=apply, dtype=np.float32)
    near = LinearOperator((size, size), matvec=precondition, dtype=np.float32)
    solution, _ = cg(matrix, pull.ravel(), start.ravel(), rtol=_TOLERANCE, maxiter=_ITERATIONS, M=near)
    return solution.reshape(shape).astype(np.float32)


def _laplacian(x: Map) -> Map:
    return cv2.Laplacian(x, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)


def _cut(view: View, space: UVDSpace, texel_mm: float) -> Photo:
    """A view around the face, no finer than texels need."""
    points = space.position[space.valid]
    pixels, camera = resample_photo(view.luminance, view.camera, points, texel_mm, _OVERSAMPLE, 1.0)
    return Photo(pixels, camera, typical_footprint([view.camera], points.mean(0)))
