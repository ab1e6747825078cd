"""Vectorised rasterisation of a mesh's UV layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Candidate texels held at once; bounds the memory at about 200 MB.
_CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class UVRaster:
    """Which triangle lies at each texel.

    Args:
        face: (H, W) int32 index of the triangle at the texel's centre, -1 where there is none.
        bary: (H, W, 3) float32 barycentric coordinates in it, 0 where there is none.
    """

    face: NDArray[np.int32]
    bary: NDArray[np.float32]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) whether a triangle covers the texel."""
        return self.face >= 0

    def interpolate(self, values: NDArray, faces: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, C) values at the mesh's vertices, ``faces`` (F, 3) → (H, W, C) map; 0 where nothing is."""
        out = np.zeros((*self.face.shape, values.shape[1]), np.float32)
        valid = self.valid
        corners = faces[self.face[valid]]  # (T, 3)
        bary = self.bary[valid]
        out[valid] = sum(bary[:, k, None] * values[corners[:, k]] for k in range(3))
        return out


def texel_centers(size: int) -> NDArray[np.float64]:
    """(H, W, 2) the (u, v) of every texel centre of a square map; row 0 is at the top, v = 1."""
    u = (np.arange(size) + 0.5) / size
    return np.stack(np.meshgrid(u, 1 - u), -1)


def uv_to_pixels(uv: NDArray, size: int) -> NDArray[np.float64]:
    """(..., 2) (u, v) → (..., 2) (column, row) of a square map whose texel centres are at integers."""
    return np.stack([uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5], -1)


def grid_faces(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(F, 3) triangles of a UV grid, indices row · W + column, both halves of every quad in ``valid``.

    Wound counter-clockwise seen from outside when u runs right, v up and the normal outward.
    """
    h, w = valid.shape
    index = np.arange(h * w).reshape(h, w)
    quad = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:] & valid[1:, 1:]
    a, b, c, d = index[1:, :-1][quad], index[1:, 1:][quad], index[:-1, 1:][quad], index[:-1, :-1][quad]
    return np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def rasterize_uv(uv: NDArray[np.float64], faces: NDArray[np.int64], size: int) -> UVRaster:
    """Find the triangle at every texel centre.

    Where triangles overlap the one with the lower index wins, so the result does not depend on chunking.

    Args:
        uv: (T, 2) in [0, 1]; what lies outside of the square is cut off.
        faces: (F, 3) indices into ``uv``.
        size: side of the map in texels.

    Returns:
        the raster of ``size`` × ``size`` texels.
    """
    face_map = np.full(size * size, -1, np.int32)
    bary_map = np.zeros((size * size, 3), np.float32)
    corners = uv_to_pixels(uv, size)[faces]  # (F, 3, 2)
    low = np.clip(np.ceil(corners.min(1)), 0, size).astype(np.int64)  # first texel centre inside the box
    high = np.clip(np.floor(corners.max(1)), -1, size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    count = extent[:, 0] * extent[:, 1]
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    det = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    order = np.flatnonzero((count > 0) & (np.abs(det) > 1e-12))[::-1]  # last first: lower indices overwrite
    for part in _chunks(order, count[order]):
        n = count[part]
        owner = np.repeat(part, n)
        local = np.arange(len(owner)) - np.repeat(np.cumsum(n) - n, n)
        width = extent[owner, 0]
        x, y = low[owner, 0] + local % width, low[owner, 1] + local // width
        dx, dy = x - a[owner, 0], y - a[owner, 1]
        b1 = (dx * e2[owner, 1] - dy * e2[owner, 0]) / det[owner]
        b2 = (e1[owner, 0] * dy - e1[owner, 1] * dx) / det[owner]
        inside = (b1 >= -1e-9) & (b2 >= -1e-9) & (b1 + b2 <= 1 + 1e-9)
        texel = y[inside] * size + x[inside]
        face_map[texel] = owner[inside]  # numpy keeps the last of repeated indices
        b1, b2 = b1[inside], b2[inside]
        bary_map[texel] = np.column_stack([1 - b1 - b2, b1, b2])
    return UVRaster(face_map.reshape(size, size), bary_map.reshape(size, size, 3))


def _chunks(order: NDArray[np.int64], count: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split ``order`` so that each part has at most ``_CHUNK`` candidate texels (or one triangle)."""
    if not len(order):
        return []
    part = np.cumsum(count) // _CHUNK
    return np.split(order, np.flatnonzero(np.diff(part)) + 1)
