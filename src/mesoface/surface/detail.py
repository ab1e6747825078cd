"""Detail on the base mesh, measured and predicted: as maps without holes, and as meshes of any density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.geometry.mesh import Mesh, unit
from mesoface.geometry.subdivision import grow_faces, split_mesh
from mesoface.surface.fine import extend_smoothly, fine_mesh
from mesoface.uvd.maps import (
    blur_masked,
    distance_inside,
    erode,
    fill_outside,
    rasterize_uv,
    resize_map,
    resize_mask,
    sample_map,
    smooth_step,
    within,
)
from mesoface.uvd.space import UVDSpace, surface_normals

MAX_TRIANGLES = 30_000_000
"""Most triangles that a detailed mesh may have, by estimate."""

# Beyond what was measured the detail fades out over so many mm, towards the outer rim over so many.
_FADE_MM = 8.0
_RIM_MM = 4.0
# Density at which the base mesh, its facets rounded, stands for itself in the maps.
_GROUND_MM = 1.5
# Over so many mm from the rim of what was measured, vertices go from the base to the measured surface.
_BLEND_MM = 2.0
# What is not skin follows it less and less, over so many mm.
_YIELD_MM = 4.0
# So many rings of faces around the skin are as fine as it.
_RINGS = 2
# A mesh whose long edges were split has triangles of so many times the length's square, in the mean.
_TRIANGLE = 0.22


@dataclass(frozen=True, eq=False)
class FineMaps:
    """The measured surface as UV maps, as a result's files hold it.

    Args:
        position: (H, H, 3) float32 mm, 0 where nothing was measured.
        displacement: (H, H) float32 mm along the base's smoothed normals, 0 where nothing was measured.
        measured: (H, H).
    """

    position: NDArray[np.float32]
    displacement: NDArray[np.float32]
    measured: NDArray[np.bool_]

    def resized(self, size: int) -> FineMaps:
        """The same surface as maps of ``size``²."""
        if size == len(self.measured):
            return self
        measured = resize_mask(self.measured, size)
        position = np.where(measured[..., None], resize_map(self.position, self.measured, size), 0)
        displacement = np.where(measured, resize_map(self.displacement, self.measured, size), 0)
        return FineMaps(position, displacement, measured)


@dataclass(frozen=True, eq=False)
class DetailMaps:
    """The detailed surface as UV maps of the whole facial region.

    Where nothing was measured, detail is continued and fades out. Towards the outer rim of the facial region,
    beyond which the base mesh is all there is, it fades out too, or there would be a step.

    Args:
        surface: (H, H, 3) float32 mm, what was measured, with predicted relief where there is some; nothing
            fades.
        position: (H, H, 3) float32 mm, the same, continued beyond the facial region, and faded out.
        normal: (H, H, 3) float32 unit, of the detailed surface.
        offset: (H, H, 3) float32 mm, from the base mesh to ``position``.
        displacement: (H, H) float32 mm along the base's smoothed normals, finite everywhere.
        measured: (H, H) texels that were measured.
        facial: (H, H) texels of the facial region.
    """

    surface: NDArray[np.float32]
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    offset: NDArray[np.float32]
    displacement: NDArray[np.float32]
    measured: NDArray[np.bool_]
    facial: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Side of the maps, texels."""
        return self.facial.shape[0]

    @property
    def texel_mm(self) -> float:
        """Median distance between neighbouring measured texels, mm."""
        return UVDSpace(self.position, self.normal, self.measured).texel_mm


def detail_maps(
    base: Mesh, facial: NDArray[np.bool_], fine: FineMaps, relief: NDArray[np.float32] | None = None
) -> DetailMaps:
    """Continue what was measured over the whole facial region, and put predicted relief on it.

    Args:
        base: base mesh with UVs, in the same frame as ``fine``.
        facial: (F,) its faces in the facial region.
        fine: the measured surface.
        relief: (R, R) mm along the measured surface's normals, or None. The maps are as large as the larger
            of both.
    """
    if relief is not None:
        size = max(len(relief), len(fine.measured))
        fine, relief = fine.resized(size), resize_map(relief, None, size)
    ground, parent = split_mesh(base, facial, _GROUND_MM)
    assert ground.uv is not None
    skin = facial[parent]
    raster = rasterize_uv(ground.uv, ground.uv_index[skin], len(fine.measured))
    frame = np.concatenate([ground.vertices, ground.vertex_normals()], 1).astype(np.float32)
    maps = fill_outside(raster.interpolate(frame, ground.faces[skin]), raster.valid)
    under, outward = np.ascontiguousarray(maps[..., :3]), unit(maps[..., 3:])

    measured, region = fine.measured, raster.valid | fine.measured
    texel = UVDSpace(under, outward, raster.valid).texel_mm
    fade = 1 - smooth_step(distance_inside(~measured) / (_FADE_MM / texel))
    # The distance to what lies around the region; the openings inside of it do not count.
    rim = distance_inside(np.pad(within(region), 1))[1:-1, 1:-1]
    fade *= smooth_step(rim / (_RIM_MM / texel))
    offset = fill_outside(np.where(measured[..., None], fine.position - under, 0), measured)
    offset *= fade[..., None]
    position = under + offset
    displacement = fill_outside(fine.displacement, measured) * fade
    surface = np.where(measured[..., None], fine.position, position)
    # At the very rim of the region central differences would reach into its constant continuation.
    inside = erode(region, 1)[..., None]
    normal = np.where(inside, surface_normals(position, outward), outward)
    if relief is not None:
        step = normal * relief[..., None]
        surface, position, offset = surface + step, position + step, offset + step
        displacement = displacement + relief
        normal = np.where(inside, surface_normals(position, outward), outward)
    return DetailMaps(surface, position, normal, offset, displacement, measured, region)


def model_topology_mesh(
    base: Mesh, facial: NDArray[np.bool_], detail: DetailMaps | None, edge_mm: float
) -> tuple[Mesh, NDArray[np.bool_]]:
    """The detailed surface in the face model's topology: facial edges split, then moved onto the detail.

    Args:
        base: base mesh with UVs.
        facial: (F,) its faces in the facial region.
        detail: the detailed surface, or None where nothing was measured.
        edge_mm: longest edge in the facial region before it is moved.

    Returns:
        the mesh, whose old vertices come first, and (F',) which of its faces are facial.

    Raises:
        MesofaceError: it would have more than ``MAX_TRIANGLES``.
    """
    _check_count(float(base.face_areas()[facial].sum()) / (_TRIANGLE * edge_mm**2), edge_mm)
    mesh, parent = split_mesh(base, grow_faces(base.faces, facial, rings=_RINGS), edge_mm)
    skin = facial[parent]
    if detail is None:
        return mesh, skin
    assert mesh.uv is not None
    vertex, first = np.unique(mesh.faces[skin], return_index=True)
    uv = mesh.uv[mesh.uv_index[skin].ravel()[first]]
    # The measured surface itself inside; towards its rim the base plus what lies between, which fades out.
    texels = _BLEND_MM / detail.texel_mm
    solid = erode(detail.measured, int(np.ceil(texels)))
    surely = blur_masked(solid.astype(np.float32), np.ones_like(solid), texels / 3)
    share = sample_map(surely, uv)[:, None]
    before = mesh.vertices[vertex]
    after = share * sample_map(detail.position, uv) + (1 - share) * (before + sample_map(detail.offset, uv))
    motion = np.zeros_like(mesh.vertices)
    motion[vertex] = after - before
    # What is not skin gives way around it, or there would be a crease.
    on_skin = np.zeros(len(motion), bool)
    on_skin[vertex] = True
    pull = 1.5 * (min(edge_mm, _YIELD_MM) / _YIELD_MM) ** 2
    motion = extend_smoothly(motion, on_skin, mesh.faces, pull=pull)
    return mesh.with_vertices(mesh.vertices + motion), skin


def grid_mesh(detail: DetailMaps, edge_mm: float | None = None) -> Mesh:
    """The measured surface as a dense UV grid, up to its rim: two triangles a quad of texels.

    Args:
        detail: the detailed surface.
        edge_mm: wanted distance of neighbouring vertices, mm; None: as dense as the maps.

    Raises:
        MesofaceError: it would have more than ``MAX_TRIANGLES``.
    """
    space = UVDSpace(detail.surface, detail.normal, detail.measured)
    if edge_mm is not None:
        _check_count(2 * float(space.valid.sum()) * (space.texel_mm / edge_mm) ** 2, edge_mm)
        space = space.resized(max(2, round(space.size * space.texel_mm / edge_mm)))
    return fine_mesh(space, space.valid)


def _check_count(triangles: float, edge_mm: float) -> None:
    """Refuse a density before memory is taken for it."""
    if triangles > MAX_TRIANGLES:
        finest = np.ceil(100 * edge_mm * np.sqrt(triangles / MAX_TRIANGLES)) / 100
        raise MesofaceError(
            f"edges of {edge_mm:g} mm would make about {triangles / 1e6:,.0f} million triangles, "
            f"at most {MAX_TRIANGLES / 1e6:.0f} million are made",
            remedy=f"use --detail-edge {finest:g} or more",
        )
