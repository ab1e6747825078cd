"""The UVD space: UV on the base surface, D along its smoothed normals (Xiao et al. 2022, section 3).

Also what stages hand on in it: the result of matching, and the measured surface over its base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import View
from mesoface.geometry.mesh import Mesh, unit
from mesoface.uvd.maps import (
    blur_masked,
    erode,
    fill_outside,
    grid_faces,
    rasterize_uv,
    resize_map,
    resize_mask,
)


@dataclass(frozen=True, eq=False)
class UVDSpace:
    """Base surface as square UV maps.

    Args:
        position: (H, H, 3) float32, mm, continued smoothly beyond the facial mask.
        normal: (H, H, 3) float32 unit, outward, smoothed; the direction of D.
        valid: (H, H) bool, the facial mask.
    """

    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.valid.shape[0]

    @cached_property
    def texel_mm(self) -> float:
        """Median distance between neighbouring texels inside the mask, mm."""
        right = np.linalg.norm(np.diff(self.position, axis=1), axis=-1)
        down = np.linalg.norm(np.diff(self.position, axis=0), axis=-1)
        inside = [right[self.valid[:, 1:] & self.valid[:, :-1]], down[self.valid[1:] & self.valid[:-1]]]
        lengths = np.concatenate(inside)
        return float(np.median(lengths)) if len(lengths) else float("nan")

    def displaced(self, displacement: NDArray) -> NDArray[np.float32]:
        """(H, H, 3) positions at ``displacement`` (H, H), mm."""
        return self.position + self.normal * np.asarray(displacement, np.float32)[..., None]

    def resized(self, size: int, valid: NDArray[np.bool_] | None = None) -> UVDSpace:
        """The same surface at another resolution, with ``valid`` as its mask (default: resized too)."""
        valid = resize_mask(self.valid, size) if valid is None else valid
        position, normal = (resize_map(values, None, size) for values in (self.position, self.normal))
        return UVDSpace(position, unit(normal), valid)

    def mesh(self) -> Mesh:
        """The surface as triangles, a vertex a texel, for ray casting."""
        return Mesh(self.position.reshape(-1, 3).astype(np.float64), grid_faces(self.valid))

    def recentred(self, displacement: NDArray, valid: NDArray[np.bool_], smooth_mm: float) -> UVDSpace:
        """A UVD space whose zero is this one's ``displacement``: new positions, new smoothed normals.

        Args:
            displacement: (H, H) mm.
            valid: (H, H) where it can be trusted; elsewhere it is continued from there.
            smooth_mm: standard deviation of the normals' smoothing.
        """
        moved = replace(self, position=self.displaced(fill_outside(displacement, valid)))
        sigma = smooth_mm / moved.texel_mm
        return replace(moved, normal=smooth_normals(moved.position, self.valid, sigma, self.normal))


def build_uvd_space(mesh: Mesh, facial: NDArray[np.bool_], size: int, *, smooth_mm: float = 3.0) -> UVDSpace:
    """Rasterise a base mesh into its UVD space.

    Positions are smoothed along with the normals: a base mesh is a polyhedron whose edges would
    otherwise show in everything that is regularised relative to it.

    Args:
        mesh: base mesh with UVs, mm.
        facial: (F,) faces of the facial mask.
        size: side of the maps, texels.
        smooth_mm: standard deviation of the Gaussian on positions and normals.

    Raises:
        ValueError: the mesh has no UVs or no facial face covers a texel.
    """
    maps = rasterize_base(mesh, facial, size)
    position, normal, valid = maps.position, maps.normal, maps.valid
    sigma = smooth_mm / maps.texel_mm
    everywhere = np.ones_like(valid)
    smooth = blur_masked(position, everywhere, sigma / 2)
    # Beyond the mask positions were continued as constants; a blur would pull the rim inwards.
    inner = erode(valid, max(1, int(1.5 * sigma)))[..., None]
    blend = blur_masked(inner[..., 0].astype(np.float32), everywhere, sigma / 2)[..., None]
    position = position + (smooth - position) * blend
    return UVDSpace(position, unit(blur_masked(normal, valid, sigma) + 1e-6 * normal), valid)


def rasterize_base(mesh: Mesh, facial: NDArray[np.bool_], size: int) -> UVDSpace:
    """As :func:`build_uvd_space`, but not smoothed; normals between vertices are not of unit length."""
    if mesh.uv is None:
        raise ValueError("the base mesh has no UVs")
    raster = rasterize_uv(mesh.uv, mesh.uv_index[facial], size)
    if not raster.valid.any():
        raise ValueError("no facial face of the base mesh covers a texel")
    known = (raster.interpolate(v, mesh.faces[facial]) for v in (mesh.vertices, mesh.vertex_normals()))
    position, normal = (fill_outside(values, raster.valid) for values in known)
    return UVDSpace(position, normal, raster.valid)


def surface_normals(position: NDArray, outward: NDArray) -> NDArray[np.float32]:
    """(H, W, 3) unit normals of a position map by central differences, turned towards ``outward``."""
    normal = unit(np.cross(np.gradient(position, axis=1), -np.gradient(position, axis=0)))
    flip = np.einsum("hwc,hwc->hw", normal, outward) < 0
    normal[flip] *= -1
    return np.where((np.abs(normal).sum(-1) > 0)[..., None], normal, outward).astype(np.float32)


def smooth_normals(
    position: NDArray, valid: NDArray[np.bool_], sigma: float, outward: NDArray
) -> NDArray[np.float32]:
    """(H, W, 3) normals of ``position``, averaged over a Gaussian of ``sigma`` texels inside ``valid``.

    Texels out of the blur's reach keep ``outward``.
    """
    inner = erode(valid, 1)
    normal = blur_masked(surface_normals(position, outward), inner if inner.any() else valid, sigma)
    reached = np.linalg.norm(normal, axis=-1, keepdims=True) > 1e-3
    return unit(np.where(reached, normal, outward)).astype(np.float32)


@dataclass(frozen=True)
class ViewCheck:
    """What was found about one of the used views once the surface was known.

    Args:
        name: of the view.
        estimated_px: by how much its camera seems to look off, pixels at the middle of the face.
        corrected_px: by how much it was corrected; less where exact cameras would seem as much off.
        corrected_deg: the same as the angle of a rotation.
        moved: share of what it sees that moved between the photos, or shows something else.
        moved_mm: the largest movement.
    """

    name: str
    estimated_px: float
    corrected_px: float
    corrected_deg: float
    moved: float = 0.0
    moved_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Match:
    """What the matching cascade measured.

    Args:
        space: UVD space whose zero is the measured surface.
        measured: (H, H) where at least two views agree on the surface.
        confidence: (H, H) float32 in [0, 1], 0 where not measured.
        views: the V views that were used, their cameras as corrected.
        visibility: (V, H, H) how well each of them sees each texel.
        used: (V,) their indices among the views that were given.
        notes: what was noticed about the views, one sentence each.
        checks: (V,) the figures behind them; empty where cameras were not checked.
        uncertainty: (H, H) one standard deviation, mm, 0 where not measured; None where none was estimated.
    """

    space: UVDSpace
    measured: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    views: tuple[View, ...]
    visibility: NDArray[np.float32]
    used: tuple[int, ...]
    notes: tuple[str, ...] = ()
    checks: tuple[ViewCheck, ...] = ()
    uncertainty: NDArray[np.float32] | None = None

    def resized(self, valid: NDArray[np.bool_]) -> Match:
        """The same on maps of another size, ``valid`` (H, H) their mask."""
        size = len(valid)
        if self.space.size == size:
            return self
        measured = resize_mask(self.measured, size) & valid
        seen = [cv2.resize(view, (size, size), interpolation=cv2.INTER_LINEAR) for view in self.visibility]
        uncertainty = self.uncertainty
        if uncertainty is not None:
            uncertainty = np.where(measured, resize_map(uncertainty, self.measured, size), 0)
        return replace(
            self,
            space=self.space.resized(size, valid),
            measured=measured,
            confidence=np.where(measured, resize_map(self.confidence, None, size), 0),
            visibility=np.stack(seen) * valid,
            uncertainty=uncertainty,
        )


@dataclass(frozen=True, eq=False)
class FineSurface:
    """The measured surface over the base, in UVD space.

    Args:
        mesh: fine mesh with UVs and normals, mm: ``space.position + space.normal * displacement``.
        space: the base surface that D is relative to; ``Face.base`` follows it.
        displacement: (H, H) float32 mm, 0 outside of ``kept``.
        kept: (H, H) texels that are part of the mesh.
        filled: (H, H) those of them that were not measured: filled from around, and from the face model.
        confidence: (H, H) float32 in [0, 1].
        visibility: (V, H, H) how well each used view sees each texel.
        left_out: share of the facial mask that was not measured.
        uncertainty: (H, H) float32 mm, one standard deviation of the surface along its normal, 0 where it was
            not measured; None where none was estimated.
    """

    mesh: Mesh
    space: UVDSpace
    displacement: NDArray[np.float32]
    kept: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    visibility: NDArray[np.float32]
    left_out: float
    uncertainty: NDArray[np.float32] | None = None

    @property
    def measured(self) -> NDArray[np.bool_]:
        """(H, H) texels of the mesh that were measured."""
        return self.kept & ~self.filled
